"""A bucket in memory: objects by key, and the keys in order, so that no page of a listing has to be sorted."""

import hashlib
import time
from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

PAGE = 1000


class Object(NamedTuple):
    """An object; `modified` in seconds since 1970, `tag` with its quotes."""

    body: bytes
    modified: int
    tag: str


class Bucket:
    """Objects by key, and the keys in order."""

    def __init__(self, objects: dict[str, Object]) -> None:
        self.objects, self.keys = objects, sorted(objects)

    def put(self, key: str, body: bytes) -> Object:
        """Put an object, in the place of the old one if there is one."""
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = new_object(body, time.time())
        return self.objects[key]

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        if self.objects.pop(key, None):
            del self.keys[bisect_left(self.keys, key)]

    def page(
        self, prefix: str, delimiter: str, start: str, after: str = "", most: int = PAGE
    ) -> tuple[list[str], list[str], str | None]:
        """Return the keys and the folders of a page from `start` on, else after a key; and where the next begins."""
        keys: list[str] = []
        folders: list[str] = []
        at = bisect_left(self.keys, max(prefix, start))
        if after and not start:
            at = max(at, bisect_right(self.keys, after))
        while at < len(self.keys) and self.keys[at].startswith(prefix):
            key = self.keys[at]
            if len(keys) + len(folders) == most:
                return keys, folders, key
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                keys.append(key)
                at += 1
            else:
                folders.append(key[: end + len(delimiter)])
                at = bisect_left(self.keys, folders[-1][:-1] + chr(ord(delimiter[-1]) + 1), at)
        return keys, folders, None


def new_object(body: bytes, modified: float) -> Object:
    """Return an object with the tag that S3 gives one put whole."""
    return Object(body, int(modified), f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')

"""Fetching ahead: every image once and in order, however they are asked for together."""

from collections.abc import Iterator
from pathlib import Path

from job import storage
from job.images.fetch import READ_AHEAD, ReadAhead, _requests, prefetch
from job.images.listing import ListedImage
from job.images.rejection import GONE, Rejected

MEGABYTE = 1 << 20


def listed(path: Path, content: bytes) -> ListedImage:
    """Write a file and return what a listing says of it."""
    path.write_bytes(content)
    _, entry = storage.fetch(str(path))
    return ListedImage(path=str(path), label="apple", length=entry.length, modified=entry.modified, fault=None)


def test_all_come_once_in_order_with_their_bytes_or_their_fault(tmp_path: Path) -> None:
    contents = [bytes([number % 251]) * (1 + number % 7) for number in range(100)]
    images = [listed(tmp_path / f"{number}.jpg", content) for number, content in enumerate(contents)]
    Path(images[40].path).unlink()
    Path(images[41].path).write_bytes(b"another")
    found = list(prefetch(iter(images), MEGABYTE))
    assert [image for image, _ in found] == images
    gone = {number for number, (_, data) in enumerate(found) if isinstance(data, Rejected) and data.reason == GONE}
    assert gone == {40, 41}
    assert [data for number, (_, data) in enumerate(found) if number not in gone] == [
        content for number, content in enumerate(contents) if number not in gone
    ]


def test_no_more_is_read_ahead_than_its_bound(tmp_path: Path) -> None:
    images = [listed(tmp_path / f"{number}.jpg", b"x" * MEGABYTE) for number in range(12)]
    asked: list[ListedImage] = []

    def noted() -> Iterator[ListedImage]:
        for image in images:
            asked.append(image)
            yield image

    found = prefetch(noted(), MEGABYTE, ReadAhead(total_bytes=3 * MEGABYTE))
    next(found)
    # Three are read, one waits for its turn, one more tells that the request before it is whole.
    assert len(asked) == 5


def test_small_files_of_a_disk_are_one_request_large_ones_and_objects_are_not(tmp_path: Path) -> None:
    small = [listed(tmp_path / f"{number}.jpg", b"x") for number in range(READ_AHEAD.disk_files + 2)]
    large = [listed(tmp_path / f"large-{number}.jpg", b"x" * MEGABYTE) for number in range(2)]
    objects = [
        ListedImage(path=f"s3://bucket/{number}.jpg", label=None, length=1, modified=0, fault=None) for number in "ab"
    ]
    requests = list(_requests(iter([*small, *large, *objects]), READ_AHEAD))
    assert [len(request) for request in requests] == [READ_AHEAD.disk_files, 2, 1, 1, 1, 1]

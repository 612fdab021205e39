"""Ranges of names in a prefix of S3, and their division where nobody knows yet which names there are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

# Comes after all that continues the same text.
LAST = "\U0010ffff"
# Ranges that one division makes at most; the last one holds what is left.
_MOST = 256
# Ranges that are divided at a time.
_THREADS = 16


class NameRange(NamedTuple):
    """The names after `after` and up to `until`, in the order of their code points; an empty `until` is no bound.

    A name is that of a child of a prefix; that of a prefix ends in `/`.
    """

    after: str = ""
    until: str = ""

    def holds(self, name: str) -> bool:
        """Return whether a name lies in the range."""
        return self.after < name and not self.ends_before(name)

    def ends_before(self, name: str) -> bool:
        """Return whether a name comes after the range."""
        return bool(self.until) and name > self.until


ALL_NAMES = NameRange()


def divide(names: NameRange, parts: int, first_after: Callable[[str], str | None]) -> list[NameRange]:
    """Divide a range into about `parts` ranges that hold the same names, none twice, of about the same number.

    Each level of division parts the names by the first character in which they differ. Then neighbors are put together.

    Parameters
    ----------
    first_after : callable
        Returns the first name after a text, None where there is none. Its answers only decide how even the ranges are:
        the ranges always meet without a gap.
    """
    ranges = [names]
    with ThreadPoolExecutor(_THREADS) as pool:
        while len(ranges) < parts:
            divided = list(pool.map(partial(_cut, first_after), ranges))
            if all(len(found) == 1 for found in divided):
                break
            ranges = [part for found in divided for part in found]
    return _join(ranges, parts)


def _cut(first_after: Callable[[str], str | None], names: NameRange) -> list[NameRange]:
    """Cut a range after all names that begin alike, one character longer than all of them do."""

    def following(text: str) -> str | None:
        name = first_after(text)
        return name if name is not None and names.holds(name) else None

    name = first = following(names.after)
    if first is None:
        return [names]
    shared, longer = 0, len(first) + 1  # all names share the first `shared` characters, and not the first `longer`
    while longer - shared > 1:
        middle = (shared + longer) // 2
        if following(first[:middle] + LAST) is None:
            shared = middle
        else:
            longer = middle
    ends: list[str] = []
    while name is not None and len(ends) < _MOST:
        end = name[: shared + 1] + LAST if len(name) > shared else name
        name = following(end)
        if name is not None:
            ends.append(end)
    return list(map(NameRange, [names.after, *ends], [*ends, names.until]))


def _join(ranges: list[NameRange], parts: int) -> list[NameRange]:
    """Join neighbors until there are at most `parts` ranges."""
    count = min(len(ranges), parts)
    starts = [part * len(ranges) // count for part in range(count + 1)]
    return [NameRange(ranges[start].after, ranges[stop - 1].until) for start, stop in pairwise(starts)]

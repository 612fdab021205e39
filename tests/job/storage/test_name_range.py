"""Ranges of names: they hold every name once, and about as many each."""

import random
from bisect import bisect_right
from collections.abc import Callable

import pytest

from job.storage.name_range import ALL_NAMES, NameRange, divide


def asking(names: list[str]) -> Callable[[str], str | None]:
    """Return a function that finds the first name after a text."""
    ordered = sorted(names)

    def first_after(text: str) -> str | None:
        at = bisect_right(ordered, text)
        return ordered[at] if at < len(ordered) else None

    return first_after


def sizes(ranges: list[NameRange], names: list[str]) -> list[int]:
    """Return the number of names in each range; fails unless each name is in one."""
    held = [[name for name in names if part.holds(name)] for part in ranges]
    assert sorted(name for part in held for name in part) == sorted(names)
    return list(map(len, held))


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{number:08d}.jpg" for number in range(2_000)],
        [f"{number}.jpg" for number in range(1_000)],
        [random.Random(number).randbytes(8).hex() for number in range(2_000)],
        [
            f"2026-{month:02d}-{day:02d}T{hour:02d}.jpg"
            for month in range(1, 13)
            for day in range(1, 29)
            for hour in (0, 9)
        ],
    ],
    ids=["padded", "plain", "hexadecimal", "dates"],
)
def test_names_as_cameras_and_programs_give_them_are_divided_evenly(names: list[str]) -> None:
    ranges = divide(ALL_NAMES, 16, asking(names))
    assert 10 <= len(ranges) <= 16
    assert max(sizes(ranges, names)) <= 3 * len(names) / 16


@pytest.mark.parametrize("seed", range(100))
def test_each_name_is_in_one_range_whatever_the_names_and_the_answers(seed: int) -> None:
    rng = random.Random(seed)
    letters = rng.choice(["ab", "a/", "0123456789", "a \n\u00e9\u82f9\U0001f34e\U0010ffff"])
    names = list({"".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(rng.randint(0, 200))})
    whole = NameRange(*sorted(rng.choices(names, k=2))) if len(names) > 2 and seed % 2 else ALL_NAMES
    known = [name for name in names if rng.random() < 0.8]  # others are added or deleted meanwhile
    ranges = divide(whole, rng.randint(1, 40), asking(known))
    assert (ranges[0].after, ranges[-1].until) == whole
    sizes(ranges, [name for name in names if whole.holds(name)])


def test_what_cannot_be_divided_stays_one_range() -> None:
    for names in ([], ["a.jpg"]):
        assert divide(ALL_NAMES, 16, asking(names)) == [ALL_NAMES]
    assert len(divide(ALL_NAMES, 16, asking(["a", "aa"]))) == 2

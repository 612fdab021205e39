"""The draw of a sample: by the hash of the path alone."""

from random import Random

import pytest

from job.curation.draw import Draw, HashedImage, path_hash
from job.images.listing import ListedImage

IMAGES = [
    HashedImage(path_hash(path), ListedImage(path, None, 1, 1, None))
    for path in (f"/images/{number}.jpg" for number in range(200))
]


def drawn(size: int, *parts: list[HashedImage]) -> list[HashedImage]:
    draw = Draw(size)
    for part in parts:
        draw.add(part)
    return draw.drawn()


@pytest.mark.parametrize("size", [1, 10, 199, 200, 201])
def test_the_smallest_hashes_are_drawn_whatever_the_order_and_the_parts(size: int) -> None:
    expected = sorted(IMAGES)[:size]
    shuffled = Random(size).sample(IMAGES, len(IMAGES))
    assert drawn(size, IMAGES) == expected
    assert drawn(size, *([image] for image in shuffled)) == expected
    assert drawn(size, drawn(size, shuffled[:70]), drawn(size, shuffled[70:])) == expected


def test_the_bound_is_the_largest_hash_that_is_still_drawn() -> None:
    draw = Draw(10)
    draw.add(IMAGES[:9])
    draw.drawn()
    assert draw.bound == (1 << 64) - 1
    draw.add(IMAGES[9:])
    assert draw.bound == draw.drawn()[-1].path_hash


def test_a_new_image_leaves_all_others_but_one_in_the_sample() -> None:
    before, after = drawn(50, IMAGES[:-1]), drawn(50, IMAGES)
    assert len(set(before) - set(after)) <= 1

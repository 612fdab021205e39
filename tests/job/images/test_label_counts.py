"""Numbers of images by label: digests that add up, and memory that is bounded."""

from collections import Counter

import pytest

from job.images.label_counts import LabelCounts, LabelDigest


def test_digests_of_parts_add_up_to_that_of_the_whole_in_any_order() -> None:
    a, b = LabelDigest.of({"apple": 2, "": 1}), LabelDigest.of({"apple": 1, "pear": 10**9})
    assert a + b == b + a == LabelDigest.of({"": 1, "pear": 10**9, "apple": 3})
    assert (a + b).images == 10**9 + 4
    assert 0 <= (a + b).value < 2**32
    assert LabelDigest() + a == a


@pytest.mark.parametrize("other", [{"a": 2, "b": 1}, {"a": 1, "c": 2}, {"a": 1, "": 2}, {"a": 3}, {"A": 1, "b": 2}])
def test_other_labels_have_another_digest(other: dict[str, int]) -> None:
    assert LabelDigest.of(other).value != LabelDigest.of({"a": 1, "b": 2}).value


def test_counts_add_up_until_there_are_too_many_labels() -> None:
    counts = LabelCounts.of(["a", None, "a", "b"])
    assert counts.by_label == Counter({"a": 2, "": 1, "b": 1})
    counts.add(LabelCounts.of(["b", "c"]), most=4)
    assert counts.by_label == Counter({"a": 2, "b": 2, "": 1, "c": 1})
    counts.add(LabelCounts.of(["d"]), most=4)
    assert counts.by_label is None
    counts.add(LabelCounts.of(["a"]), most=4)
    assert counts.by_label is None
    assert counts.digest == LabelDigest.of({"a": 3, "b": 2, "": 1, "c": 1, "d": 1})


def test_too_many_labels_of_one_part_are_not_counted_by_label() -> None:
    counts = LabelCounts.of(["a", "b", "c"], most=2)
    assert counts == LabelCounts(None, LabelDigest.of({"a": 1, "b": 1, "c": 1}))
    other = LabelCounts.of(["a"])
    other.add(counts)
    assert other.by_label is None

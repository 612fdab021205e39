"""The interval beside SciPy's."""

import pytest
from scipy.stats import binomtest

from job.curation.intervals import wilson


@pytest.mark.parametrize(("right", "total"), [(0, 7), (7, 7), (3, 7), (496, 496), (99_000, 100_000)])
def test_the_interval_is_wilsons(right: int, total: int) -> None:
    found, expected = wilson(right, total), binomtest(right, total).proportion_ci(method="wilson")
    assert found.value == right / total
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)

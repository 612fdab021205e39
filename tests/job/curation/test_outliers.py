"""An outlier by hand."""

import numpy as np
import pytest

from job.curation.knn import nearest
from job.curation.outliers import outliers


def test_the_score_of_an_outlier_is_how_many_times_as_far_it_is() -> None:
    vectors = np.array([[float(number)] for number in range(11)] + [[40.0]])
    # The five nearest of 5 lie at 1, 1, 2, 2, 3: 1.8; those of 40 at 30 to 34: 32. The median of all is 2.3.
    means = sorted(np.sort(np.abs(vectors - vectors.T), axis=1)[:, 1:6].mean(axis=1))
    [outlier] = outliers(nearest(vectors, 5))
    assert outlier.image == 11
    assert outlier.score == pytest.approx(32 / ((means[5] + means[6]) / 2))

"""The results, read back."""

from pathlib import Path

import numpy as np

from job.results.validation import read_back
from tests.job.results.parts import results_part


def test_reading_back_counts_rows_labels_and_faults(tmp_path: Path) -> None:
    address = results_part(
        tmp_path / "1",
        [
            ("/a", "x", [1.0, 2.0]),
            ("/b", None, [1.0]),
            ("/c", "x", [1.0, float("nan")]),
            ("/c", "y", [float("inf"), float("-inf")]),
            ("/d", "y", []),
        ],
    )
    found = read_back(address, 2)
    assert found.labels == {"x": 2, "": 1, "y": 2}
    assert (found.wrong_length, found.not_finite) == (2, 3)
    assert found.paths.dtype == np.uint64
    assert (len(found.paths), len(np.unique(found.paths))) == (5, 4)

"""The results, read back."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job.features.snapshot import Counts
from job.pca.basis import Moments, fit
from job.pca.moments import TableSummary
from job.results.validation import Readback, read_back, validate
from tests.job.features.stores import snapshot
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


VECTORS = np.random.default_rng(0).normal(size=(9, 4))
SNAPSHOT = replace(snapshot(), counts=Counts(listed=4, reused=1, new=3, ok=3, rejected=1), labels={"x": 3, "": 1})
SUMMARY = TableSummary(Moments.empty(4), Counter({"x": 2, "": 1}), Counter(x=1), Counter(gone=1), 0, [], [])
RESULTS = Readback(Counter({"x": 2, "": 1}), np.array([3, 1, 2], np.uint64), 0, 0)
BASIS = fit(Moments.of(VECTORS), 2, None, "a model", {})

# Check -> what fails it, and no other check.
FAILURES: dict[str, dict[str, Any]] = {
    "features rows": {
        "snapshot": replace(SNAPSHOT, counts=Counts(listed=5, reused=2, new=3, ok=3, rejected=2)),
    },
    "features labels": {"snapshot": replace(SNAPSHOT, labels={"x": 2, "": 2})},
    "features finite": {"summary": replace(SUMMARY, not_finite=1)},
    "results rows": {"results": replace(RESULTS, paths=np.array([3, 1, 2, 2], np.uint64))},
    "results distinct paths": {"results": replace(RESULTS, paths=np.array([3, 1, 3], np.uint64))},
    "results labels": {"results": replace(RESULTS, labels=Counter({"x": 3}))},
    "results dimensions": {"results": replace(RESULTS, wrong_length=1)},
    "results finite": {"results": replace(RESULTS, not_finite=1)},
    "basis orthonormal": {"basis": replace(BASIS, components=BASIS.components * 1.001)},
}


def checks(**changes: Any) -> dict[str, str]:
    sound: dict[str, Any] = {"snapshot": SNAPSHOT, "summary": SUMMARY, "results": RESULTS, "basis": BASIS}
    return validate(**(sound | changes))


def test_sound_results_pass_every_check() -> None:
    assert checks() == dict.fromkeys(FAILURES, "ok")


@pytest.mark.parametrize("name", FAILURES)
def test_each_check_fails_alone(name: str) -> None:
    found = checks(**FAILURES[name])
    assert [check for check, result in found.items() if result != "ok"] == [name]

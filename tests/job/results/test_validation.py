"""The results, read back."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from job.errors import RunError
from job.features.snapshot import Counts
from job.images.label_counts import LabelDigest
from job.pca.basis import Moments, fit
from job.pca.moments import TableSummary
from job.results.validation import Readback, read_back, validate
from job.spark.shipping import ship
from tests.job.features.stores import snapshot
from tests.job.results.parts import results_part


def test_reading_back_counts_rows_labels_and_faults(spark: SparkSession, tmp_path: Path) -> None:
    ship(spark)
    first = results_part(
        tmp_path / "1",
        [
            ("/a", "x", [1.0, 2.0]),
            ("/b", None, [1.0]),
            ("/c", "x", [1.0, float("nan")]),
            ("/c", "y", [float("inf"), float("-inf")]),
            ("/d", "y", []),
        ],
    )
    second = results_part(tmp_path / "2", [("/a", "z", [1.0, 2.0, 3.0]), ("/e", "z", [1.0, 2.0])])
    found = read_back(spark, [first, second], 2, 7, str(tmp_path / "scratch"))
    assert found.labels == LabelDigest.of({"x": 2, "": 1, "y": 2, "z": 2})
    assert found == Readback(found.labels, distinct_paths=5, wrong_length=3, not_finite=3)


@pytest.mark.parametrize("task_paths", [1, 7, 60, 1000])
def test_paths_are_counted_in_ranges_of_their_hashes(spark: SparkSession, tmp_path: Path, task_paths: int) -> None:
    ship(spark)
    numbers = [range(0, 100, 2), range(0, 60), range(1, 100, 2), range(0)]
    parts = [
        results_part(tmp_path / f"{part}", [(f"/{number}", "x", [1.0]) for number in some])
        for part, some in enumerate(numbers)
    ]
    found = read_back(spark, parts, 1, 160, str(tmp_path / "scratch"), task_paths)
    assert (found.labels.images, found.distinct_paths) == (160, 100)


def test_reading_back_a_part_that_is_gone_names_it(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"1\.parquet is gone"):
        read_back(spark, [str(tmp_path / "1.parquet")], 2, 1, str(tmp_path / "scratch"))


VECTORS = np.random.default_rng(0).normal(size=(9, 4))
LISTED, OK, REJECTED = (LabelDigest.of(labels) for labels in ({"x": 3, "": 1}, {"x": 2, "": 1}, {"x": 1}))
COUNTS = Counts(listed=4, reused=1, new=3, ok=3, rejected=1)
SNAPSHOT = replace(snapshot(), counts=COUNTS, label_digest=LISTED)
SUMMARY = TableSummary(OK, REJECTED, Counter(gone=1), 0, [], [])
RESULTS = Readback(OK, 3, 0, 0)
BASIS = fit(Moments.of(VECTORS), 2, None, "a model", {})

# Check -> what fails it, and no other check.
FAILURES: dict[str, dict[str, Any]] = {
    "features rows": {
        "snapshot": replace(SNAPSHOT, counts=Counts(listed=5, reused=2, new=3, ok=3, rejected=2)),
    },
    "features labels": {"snapshot": replace(SNAPSHOT, label_digest=LabelDigest.of({"x": 2, "": 2}))},
    "features finite": {"summary": replace(SUMMARY, not_finite=1)},
    "results rows": {"results": replace(RESULTS, labels=replace(OK, images=4))},
    "results distinct paths": {"results": replace(RESULTS, distinct_paths=2)},
    "results labels": {"results": replace(RESULTS, labels=LabelDigest.of({"x": 3}))},
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

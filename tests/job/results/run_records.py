"""A record of a run for tests that need one."""

from dataclasses import replace
from typing import Any

from job.features.snapshot import Counts, ModelSummary
from job.images.unlisted_folders import UnlistedFolders
from job.results.run_record import ResultFolders, RunRecord
from job.settings import Settings


def run_record(**changes: Any) -> RunRecord:
    """Return the record of a small run, with some fields replaced."""
    record = RunRecord(
        run="20250101T000000-abcdef-0123",
        results=ResultFolders.of_run("20250101T000000-abcdef-0123"),
        settings=Settings(images="/Äpfel", output="/out", components=2),
        model=ModelSummary("tiny", 1.0, 32, 16, "random", "for tests", "1" * 64, "0" * 64),
        fingerprint="0123456789abcdef",
        counts=Counts(listed=3, reused=1, new=2, ok=2, rejected=1),
        labels={"Äpfel": 2, "": 1},
        seconds={"featurize": 1.5, "pca": 0.1 + 0.2},
        images_per_second=1.33,
        components=2,
        explained_variance_ratio=(0.7, 0.1 + 0.2),
        pca_fitted_to=2,
        versions={"fruits": "0.1.0", "spark": "4.1.1"},
        validation={"results rows": "ok"},
        unlisted_folders=UnlistedFolders(21, ("/Äpfel/lost+found",)),
    )
    return replace(record, **changes)

"""The folders of an output: which of a run's are deleted."""

from job import storage
from job.features.layout import remove_runs


def test_only_the_kept_run_of_a_folder_stays(output: str) -> None:
    for name in ("run=1/a", "run=2/a", "run=22/a", "other/a"):
        storage.write(storage.join(output, "pca_results", name), b"")
    remove_runs(output, "pca_results", keep={"2"})
    left = {storage.name(entry.address) for entry in storage.scan(storage.join(output, "pca_results"))}
    assert left == {"run=2", "other"}

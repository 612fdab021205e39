"""The paths of a reduction: those that `run.json` names, and no other reduction's."""

from job import storage
from job.results.paths import ReductionPaths
from job.results.run_record import ResultFolders


def test_no_two_reductions_of_the_same_features_share_a_path() -> None:
    first, second = (ReductionPaths.of_new_reduction("/out", "20250101T000000-abcdef") for _ in range(2))
    assert first.run != second.run
    assert first.run.startswith("20250101T000000-abcdef-")
    assert first.scratch != second.scratch


def test_they_lie_in_the_folders_that_are_recorded() -> None:
    paths = ReductionPaths("/out", "a-1", "a")
    folders = {
        name: storage.join("/out", folder)
        for name, folder in ResultFolders.of_run(paths.run, label_table=True).to_json().items()
    }
    assert paths.basis == f"{folders['pca_model']}/basis.npz"
    assert paths.results_part(12) == "/out/_results/run=a-1/part-00012.parquet"
    assert paths.index == folders["neighbours"]
    assert paths.label_counts == folders["label_counts"]

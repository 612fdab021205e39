"""The folders of an output: how a run is named, and which of a run's are deleted."""

from datetime import UTC, datetime

import pytest

from job import storage
from job.features.layout import new_run, remove_runs
from tests.job.features.stores import write_wave


@pytest.mark.parametrize(
    ("waves", "first"),
    [
        ([], None),
        (["20200101T000000-ffffff"], None),
        (["20990101T000000-ffffff"], "20990101T000001"),
        (["20990101T000000-ffffff", "20991231T235959-000000", "20980101T000000-ffffff"], "21000101T000000"),
        (["by-hand", "20991399T000000-ffffff", "20990101T000000-ffffff"], "20990101T000001"),
    ],
)
def test_a_new_run_comes_after_all_waves_though_the_clock_was_set_back(
    output: str, waves: list[str], first: str | None
) -> None:
    for wave in waves:
        write_wave(output, wave, 1)
    before = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    run = new_run(output)
    after = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    assert run[:15] == first or before <= run[:15] <= after


def test_a_new_run_comes_after_those_of_other_models_and_those_without_waves(output: str) -> None:
    write_wave(output, "20990101T000000-ffffff", 1, fingerprint="f" * 16)
    assert new_run(output)[:15] == "20990101T000001"
    storage.write(storage.join(output, "work/run=20990101T000001-ffffff/listing/part"), b"")
    assert new_run(output)[:15] == "20990101T000002"


def test_runs_of_one_second_sort_in_their_order(output: str) -> None:
    runs = []
    for _ in range(5):
        runs.append(new_run(output))
        write_wave(output, runs[-1], 1)
    assert runs == sorted(runs)


def test_only_the_kept_run_of_a_folder_stays(output: str) -> None:
    for name in ("run=1/a", "run=2/a", "run=22/a", "other/a"):
        storage.write(storage.join(output, "pca_results", name), b"")
    remove_runs(output, "pca_results", keep={"2"})
    left = {storage.name(entry.address) for entry in storage.scan(storage.join(output, "pca_results"))}
    assert left == {"run=2", "other"}

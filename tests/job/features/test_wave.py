"""Waves of the features table: what counts as committed, what is dropped, what a damaged marker leads to."""

import json

import pytest

from job import storage
from job.errors import RunError
from job.features.layout import model_folder, models
from job.features.table import read_file
from job.features.wave import committed, drop_uncommitted, drop_waves, empty_marker
from tests.job.features.stores import FINGERPRINT, write_wave


def test_committed_waves_are_listed_oldest_first(output: str) -> None:
    later, earlier = write_wave(output, "20260102T000000-b", 3, 4), write_wave(output, "20260101T000000-a", 5)
    write_wave(output, "20260103T000000-c", 6, done=False)
    write_wave(output, "20260101T000000-d", 7, fingerprint="f" * 16)
    assert committed(output, FINGERPRINT) == earlier + later
    assert committed(output, "0" * 16) == []
    days = [7, 3, 9, 1, 8, 2, 6, 4, 5]
    made = {day: write_wave(output, f"2026010{day}T120000-x", 1, fingerprint="d" * 16)[0] for day in days}
    assert committed(output, "d" * 16) == [made[day] for day in sorted(days)]
    assert sorted(models(output)) == [FINGERPRINT, "d" * 16, "f" * 16]


def test_the_marker_tells_files_rows_and_bytes(output: str) -> None:
    files = write_wave(output, "r", 3, 4)
    folder = storage.join(output, "features", f"model={FINGERPRINT}", "wave=r-0000")
    marker = json.loads(storage.read(f"{folder}/_COMMIT.json"))
    sizes = [storage.stat(storage.join(output, file.name)).length for file in files]
    assert marker == {
        "format": 1,
        "fingerprint": FINGERPRINT,
        "rows": 7,
        "bytes": sum(sizes),
        "files": [
            {"name": "part-00000.parquet", "rows": 3, "bytes": sizes[0]},
            {"name": "part-00001.parquet", "rows": 4, "bytes": sizes[1]},
        ],
    }


def test_waves_without_a_marker_are_removed_and_nothing_else(output: str) -> None:
    files = write_wave(output, "a", 3)
    write_wave(output, "b", 4, 5, done=False)
    write_wave(output, "c", 4, fingerprint="f" * 16, done=False)
    storage.write(storage.join(model_folder(output, FINGERPRINT), "model.tflite"), b"")
    drop_uncommitted(output)
    model = storage.join(output, "features", f"model={FINGERPRINT}")
    assert {storage.name(entry.address) for entry in storage.scan(model)} == {"wave=a-0000", "_model"}
    assert committed(output, FINGERPRINT) == files
    assert sum(batch.num_rows for batch in read_file(output, files[0], ["path"])) == 3
    assert not storage.exists(storage.join(output, "features", f"model={'f' * 16}", "wave=c-0000"))


def test_files_that_a_marker_does_not_name_are_removed_from_its_wave(output: str) -> None:
    files = write_wave(output, "a", 3)
    folder = storage.join(output, files[0].wave)
    for name in ("part-00000-loser.parquet", ".0123456789abcdef0123456789abcdef"):
        storage.write(storage.join(folder, name), b"of a task that lost")
    drop_uncommitted(output)
    assert {storage.name(entry.address) for entry in storage.scan(folder)} == {"part-00000.parquet", "_COMMIT.json"}


def test_a_wave_whose_marker_cannot_be_read_is_left_alone(output: str) -> None:
    files = write_wave(output, "a", 3)
    storage.write(storage.join(output, files[0].wave, "_COMMIT.json"), b"{")
    drop_uncommitted(output)
    assert storage.exists(storage.join(output, files[0].name))


def test_a_wave_that_goes_counts_no_more_before_its_files_are_gone(output: str) -> None:
    kept, gone = write_wave(output, "a", 3), write_wave(output, "b", 4)
    storage.write(storage.join(output, gone[0].wave, "_COMMIT.json"), json.dumps(empty_marker(gone[0].wave)).encode())
    assert committed(output, FINGERPRINT) == kept
    drop_uncommitted(output)  # a killed run may have come so far
    assert not storage.exists(storage.join(output, gone[0].name))
    drop_waves(output, [kept[0].wave])
    assert committed(output, FINGERPRINT) == []
    assert not storage.exists(storage.join(output, kept[0].wave))


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (b'{"format": 1', "is damaged; delete the folder it is in, and its images are inferred again$"),
        (b'{"format": 2, "fingerprint": "0123456789abcdef", "files": []}', "written by another version or model"),
        (b'{"format": 1, "fingerprint": "ffff", "files": []}', "was written by another version or model"),
    ],
)
def test_a_marker_that_is_damaged_or_foreign_is_refused_by_name(output: str, marker: bytes, words: str) -> None:
    write_wave(output, "a", 1)
    address = storage.join(output, "features", f"model={FINGERPRINT}", "wave=a-0000", "_COMMIT.json")
    storage.write(address, marker)
    with pytest.raises(RunError, match=f"^{address} .*{words}"):
        committed(output, FINGERPRINT)

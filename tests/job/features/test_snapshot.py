"""The snapshot: reading it back gives the same snapshot; a missing or damaged one is an error in one line."""

import json
from dataclasses import replace

import pytest

from job import storage
from job.errors import JobError
from job.features.snapshot import Counts, RowMask, read_snapshot, write_snapshot
from job.features.table import read_features
from job.features.wave import DataFile
from job.images.label_counts import LabelDigest
from tests.job.features.stores import snapshot, write_wave

VERSION_0_1 = b"""{
 "run": "20260101T000000-abcdef",
 "fingerprint": "cc61cf9e5cfb2c68",
 "model": {
  "name": "MobileNetV2",
  "alpha": 0.35,
  "input_size": 224,
  "features": 1280,
  "weights": "embedded",
  "weights_note": "a note",
  "weights_sha256": "00",
  "sha256": "11"
 },
 "settings": {
  "output": "results",
  "images": "\\u00c4pfel",
  "limit": null
 },
 "counts": {
  "listed": 496,
  "reused": 490,
  "new": 6,
  "ok": 495,
  "rejected": 1
 },
 "labels": {
  "apple": 496
 },
 "seconds": {
  "list": 0.25,
  "subtract": 1.5,
  "featurize": 2.0
 },
 "images_per_second": 3.0,
 "selections": [
  [
   [
    "features/model=cc61cf9e5cfb2c68/wave=a-0000/part-00000-0f.parquet",
    6,
    31
   ],
   null,
   6
  ],
  [
   [
    "features/model=cc61cf9e5cfb2c68/wave=a-0000/part-00001-0e.parquet",
    500,
    2500
   ],
   "work/run=a/selection/part-00001.parquet",
   490
  ]
 ],
 "format": 2
}
"""


def test_what_is_current_is_read_as_it_was_written(output: str) -> None:
    files = write_wave(output, "a", 2, 3)
    written = snapshot(RowMask(files[0], None, 2), RowMask(files[1], "work/mask.parquet", 1))
    write_snapshot(output, written)
    assert read_snapshot(output) == written
    write_snapshot(output, replace(written, labels=None))
    assert read_snapshot(output) == replace(written, labels=None)


def test_the_file_of_version_0_1_is_read_and_written_alike(output: str) -> None:
    address = storage.join(output, "features", "_CURRENT.json")
    storage.write(address, VERSION_0_1)
    current = read_snapshot(output)
    assert current.model.n_features == 1280
    assert current.counts == Counts(listed=496, reused=490, new=6, ok=495, rejected=1)
    whole, chosen = current.row_masks
    assert whole == RowMask(
        DataFile("features/model=cc61cf9e5cfb2c68/wave=a-0000/part-00000-0f.parquet", 6, 31), None, 6
    )
    assert (chosen.mask, chosen.rows) == ("work/run=a/selection/part-00001.parquet", 490)
    write_snapshot(output, current)
    again = json.loads(storage.read(address))
    assert again.pop("unlisted_folders") == {"count": 0, "names": []}
    assert again.pop("label_digest") == LabelDigest.of(current.labels or {}).value
    assert list(again.items()) == list(json.loads(VERSION_0_1).items())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, r"^no features in .*; make them with: python -m job featurize --output"),
        (b'{"lease": "of a run at work"}', r"^no features in .*; make them with: python -m job featurize --output"),
        (b"{", r"_CURRENT\.json is damaged; run python -m job featurize again"),
        (b"[1]", r"_CURRENT\.json is damaged; run python -m job featurize again"),
        (b'{"format": 2, "run": "r"}', r"_CURRENT\.json is damaged; run python -m job featurize again"),
        (b'{"format": 7}', r"_CURRENT\.json has format 7, this version reads format 2; run python -m job run"),
    ],
)
def test_where_nothing_usable_is_current_one_line_says_what_to_do(output: str, data: bytes | None, words: str) -> None:
    if data is not None:
        storage.write(storage.join(output, "features", "_CURRENT.json"), data)
    with pytest.raises(JobError, match=words):
        read_features(output)

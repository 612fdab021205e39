"""Small features tables for tests: waves of files, row masks, snapshots."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from job import storage
from job.features.layout import wave_name
from job.features.snapshot import Counts, ModelSummary, RowMask, Snapshot
from job.features.table import SCHEMA
from job.features.wave import DataFile, commit
from job.images.label_counts import LabelDigest
from job.images.unlisted_folders import UnlistedFolders

FINGERPRINT = "0123456789abcdef"


def write_file(output: str, wave: str, number: int, rows: int) -> DataFile:
    """Write a features file; row i of it is of the image `/<wave>-<number>/<i>.jpg`."""
    label = f"{storage.name(wave).removeprefix('wave=').removesuffix('-0000')}-{number}"
    columns: dict[str, list[Any]] = {name: [None] * rows for name in SCHEMA.names}
    columns["path"] = [f"/{label}/{i}.jpg" for i in range(rows)]
    columns["label"] = [label] * rows
    columns["length"] = list(range(rows))
    columns["modified"] = [pd.Timestamp(1_700_000_000_000_000 + i, unit="us", tz="UTC") for i in range(rows)]
    columns["status"] = ["ok"] * rows
    columns["features"] = [[float(i), 0.5] for i in range(rows)]
    name = f"{wave}/part-{number:05d}.parquet"
    with storage.create(storage.join(output, name)) as path:
        pq.write_table(pa.table(columns, schema=SCHEMA), path)
        size = path.stat().st_size
    return DataFile(name, rows, size)


def write_wave(output: str, run: str, *rows: int, fingerprint: str = FINGERPRINT, done: bool = True) -> list[DataFile]:
    name = wave_name(fingerprint, run, 0)
    files = [write_file(output, name, number, count) for number, count in enumerate(rows)]
    if done:
        commit(output, name, files)
    return files


def write_mask(output: str, name: str, rows: list[tuple[str, int, str | None]]) -> str:
    """Write a mask file; each row is a features file's name, the number of a row in it, its label."""
    table = pa.table(
        {"file": [row[0] for row in rows], "row": [row[1] for row in rows], "label": [row[2] for row in rows]}
    )
    with storage.create(storage.join(output, name)) as path:
        pq.write_table(table, path)
    return name


def snapshot(*row_masks: RowMask) -> Snapshot:
    """Return a snapshot of these rows."""
    return Snapshot(
        run="r",
        fingerprint=FINGERPRINT,
        model=ModelSummary("tiny", 0.5, 32, 2, "random", "for tests", "0" * 64, "1" * 64),
        settings={"images": "Äpfel"},
        counts=Counts(listed=5, reused=3, new=2, ok=4, rejected=1),
        labels={"a": 1},
        label_digest=LabelDigest(5, 77),
        seconds={"list": 0.25},
        images_per_second=1.5,
        row_masks=row_masks,
        unlisted_folders=UnlistedFolders(1, ("/Äpfel/lost+found",)),
    )

"""Feature vectors without images: values as MobileNetV2 gives them, and a store of them as the job writes it.

Like what relu6 leaves: none negative, many at zero, means that are large beside most of the variances.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.peers.common import lists
from job.features.layout import wave_name
from job.features.snapshot import Counts, ModelSummary, RowMask, Snapshot, write_snapshot
from job.features.table import BATCH_ROWS, OK, SCHEMA, features_writer
from job.features.wave import DataFile, commit
from job.images.color_histogram import COLOR_BINS
from job.images.label_counts import LabelDigest

D = 1280
FILE_ROWS = 1_650  # as the job cuts them at 220 images a second: tasks of 15 seconds a core
_DIRECTIONS = 100
RUN, _FINGERPRINT = "20260101T000000-000000", "0" * 16


def block(n: int, seed: int) -> NDArray[np.float32]:
    """Return vectors [n, 1280] float32; all seeds' have one covariance, whose largest eigenvalues fall slowly."""
    shared = np.random.default_rng(0)
    mean = shared.normal(0, 0.5, D).astype(np.float32)
    mixing = shared.normal(size=(_DIRECTIONS, D)) * (1 / np.sqrt(1 + np.arange(_DIRECTIONS)))[:, None] * 0.3
    rng = np.random.default_rng([1, seed])
    values = rng.standard_normal((n, _DIRECTIONS), np.float32) @ mixing.astype(np.float32)
    values += mean + np.float32(0.2) * rng.standard_normal((n, D), np.float32)
    clipped: NDArray[np.float32] = np.clip(values, 0, 6, out=values)
    return clipped


def store(count: int, file_rows: int = FILE_ROWS) -> tuple[Path, Snapshot]:
    """Return an output with `count` vectors, `file_rows` in each features file, and its snapshot; it is made once."""
    folder = inputs.INPUTS / (f"store-{count}" if file_rows == FILE_ROWS else f"store-{count}-of-{file_rows}")
    wave = wave_name(_FINGERPRINT, RUN, 0)
    done = folder / ".done"
    starts = range(0, count, file_rows)
    names = [f"{wave}/part-{number:05d}.parquet" for number in range(len(starts))]
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        for seed, (name, start) in enumerate(zip(names, starts, strict=True)):
            rows = range(start, min(count, start + file_rows))
            paths = [f"/images/label/{row:08d}.jpg" for row in rows]
            same = {"label": "label", "length": 3_000, "modified": 0}
            images = {"path": paths} | {key: [value] * len(rows) for key, value in same.items()}
            write(folder / name, block(len(rows), seed), images)
    lengths = [min(file_rows, count - start) for start in starts]
    files = [DataFile(name, n, (folder / name).stat().st_size) for name, n in zip(names, lengths, strict=True)]
    snapshot = Snapshot(
        run=RUN,
        fingerprint=_FINGERPRINT,
        model=ModelSummary("MobileNetV2", 1.0, 224, D, "none", "", "0" * 64, "0" * 64),
        settings={},
        counts=Counts(listed=count, reused=0, new=count, ok=count, rejected=0),
        labels={"label": count},
        label_digest=LabelDigest.of({"label": count}),
        seconds={},
        images_per_second=0.0,
        row_masks=tuple(map(RowMask.whole, files)),
    )
    if not done.exists():
        commit(str(folder), wave, files)
        write_snapshot(str(folder), snapshot)
        done.touch()
    return folder.resolve(), snapshot


def write(
    path: Path, values: NDArray[np.float32], images: dict[str, Any], colors: NDArray[np.float32] | None = None
) -> None:
    """Write a features file of vectors [n, d] as the job does; `images`: path, label, length, modified of each.

    The histograms `colors` [n, 160] are random by default.
    """
    n = len(values)
    if colors is None:
        colors = np.random.default_rng(n).dirichlet(np.full(COLOR_BINS, 0.1), n).astype(np.float32)
    vectors = {"features": lists(values), "colours": lists(colors)}
    same = dict.fromkeys(SCHEMA.names) | {"status": OK, "width": 100, "height": 100, "run": RUN}
    columns: dict[str, Any] = {name: [value] * n for name, value in same.items()} | images | vectors
    columns["modified"] = pa.array(columns["modified"], SCHEMA.field("modified").type)
    path.parent.mkdir(parents=True, exist_ok=True)
    with features_writer(path) as writer:
        writer.write_table(pa.table(columns, schema=SCHEMA), BATCH_ROWS)

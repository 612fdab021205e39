"""Results read and compared: folders that the job has written in, what differs out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from job.features.table import read_features

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Results:
    """What an output holds, by the images' paths below their root."""

    run: dict[str, Any]
    features: dict[str, bytes]
    coordinates: dict[str, npt.NDArray[np.float64]]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many images were listed, new, and so on."""
        return dict(self.run["counts"])


def read(output: Path, images: str) -> Results:
    """Read an output on this disk.

    Parameters
    ----------
    output : Path
        The folder.
    images : str
        Address of the root of the images, as the run was given it.
    """
    root = images.rstrip("/") + "/"
    run = json.loads((output / "run.json").read_text())
    table = read_features(str(output))
    assert isinstance(table, pa.Table)
    features = {
        row["path"].removeprefix(root): np.asarray(row["features"], np.float32).tobytes()
        for row in table.to_pylist()
        if row["status"] == "ok"
    }
    # Partitions left out: what lies in the folder is one run's, as `run.json` comes after the old one has gone.
    rows = pq.read_table(output / "pca_results", partitioning=None).to_pylist()
    coordinates = {row["path"].removeprefix(root): np.asarray(row["pca_features"], np.float64) for row in rows}
    return Results(run, features, coordinates)


def differences(ours: Results, other: Results) -> list[str]:
    """Return what is not the same: features bit for bit, coordinates to a millionth; nothing where all is."""
    found = [] if ours.features else ["there are no features"]
    for what, mine, its in (
        ("features", ours.features.keys(), other.features.keys()),
        ("coordinates", ours.coordinates.keys(), other.coordinates.keys()),
    ):
        found += [f"{what} of {path} are in one only" for path in sorted(mine ^ its)]
    found += [
        f"features of {path} differ"
        for path in sorted(ours.features.keys() & other.features.keys())
        if ours.features[path] != other.features[path]
    ]
    for path in sorted(ours.coordinates.keys() & other.coordinates.keys()):
        here, there = ours.coordinates[path], other.coordinates[path]
        if here.shape != there.shape or np.abs(here - there).max() > TOLERANCE:
            found.append(f"coordinates of {path} differ")
    shares = ours.run["explained_variance_ratio"], other.run["explained_variance_ratio"]
    if not np.allclose(*shares, rtol=0, atol=TOLERANCE):
        found.append("the shares of the variance differ")
    return found

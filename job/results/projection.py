"""The projection of the current features on a basis: the results, and the index beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import storage
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import OK, read_batches, vectors
from job.images.color_histogram import COLOR_BINS
from job.pca.basis import Basis
from job.pca.basis_file import read_basis
from job.results.coordinates import locate
from job.results.index import (
    IndexDescription,
    IndexPart,
    as_results,
    index_part_name,
    index_schema,
    write_description,
    write_part,
)
from job.results.paths import ReductionPaths
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Values of the index that a task holds while it sorts them: 40 MB.
_TASK_VALUES = 10_000_000


@dataclass(frozen=True)
class ProjectedPart:
    """A part of the results, and the part of the index with the same images."""

    results: str
    index: IndexPart


def project(
    spark: "SparkSession", paths: ReductionPaths, snapshot: Snapshot, basis: Basis, basis_sha256: str
) -> list[str]:
    """Project the current features on the reduction's basis, and write the results and their index.

    Parameters
    ----------
    spark : SparkSession
    paths : ReductionPaths
        The basis is there already.
    snapshot : Snapshot
    basis : Basis
    basis_sha256 : str
        Hexadecimal SHA-256 of its file.

    Returns
    -------
    list of str
        Addresses of the parts of the results, each sorted by path.
    """
    k = len(basis.components)
    tasks = max(parallelism(spark), -(-snapshot.counts.ok * (k + COLOR_BINS) // _TASK_VALUES))
    shares = [
        _Share(paths, number, row_masks, snapshot.model.n_features)
        for number, row_masks in enumerate(deal(snapshot.row_masks, tasks))
    ]
    parts = [part for part in run_tasks(spark, _project_share, shares) if part]
    description = IndexDescription(
        run=paths.run,
        fingerprint=snapshot.fingerprint,
        basis_sha256=basis_sha256,
        images=sum(part.index.rows for part in parts),
        components=k,
        parts=tuple(part.index for part in parts),
    )
    write_description(paths.index, description)
    return [part.results for part in parts]


@dataclass(frozen=True)
class _Share:
    """The features that one task projects, and the number of the parts that it writes."""

    paths: ReductionPaths
    number: int
    row_masks: list[RowMask]
    n_features: int


def _project_share(share: _Share) -> ProjectedPart | None:
    """Project one task's features, in a worker; return None where none is usable."""
    basis = read_basis(share.paths.basis)
    rows = pa.Table.from_batches(_located(share, basis), index_schema(len(basis.components))).sort_by("path")
    if not rows.num_rows:
        return None
    results = share.paths.results_part(share.number)
    index = write_part(storage.join(share.paths.index, index_part_name(results)), rows)
    with storage.create(results) as path:
        pq.write_table(as_results(rows), path, compression="zstd")
    return ProjectedPart(results, index)


def _located(share: _Share, basis: Basis) -> Iterator[pa.RecordBatch]:
    """Yield the usable images of a share, in the columns of `index_schema`."""
    schema = index_schema(len(basis.components))
    columns = ["path", "label", "status", "features", "colours"]
    for batch in read_batches(share.paths.output, share.row_masks, columns):
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        features, colors = vectors(usable, share.n_features), vectors(usable, COLOR_BINS, "colours")
        coordinates, residuals = locate(basis, features, colors)
        yield pa.RecordBatch.from_arrays(
            [
                usable.column("path"),
                usable.column("label").cast(schema.field("label").type),
                pa.array(residuals),
                pa.FixedSizeListArray.from_arrays(coordinates.ravel(), type=schema.field("coordinates").type),
            ],
            schema=schema,
        )

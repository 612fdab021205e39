"""Spark: the validation of a run. The results are read back and compared with the listing and the features."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.features.snapshot import Snapshot
from job.images.label_counts import LabelDigest
from job.pca.basis import Basis
from job.pca.moments import TableSummary
from job.results.tables import read_part
from job.spark.tasks import collect_table, map_items

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The result of a check that found nothing wrong.
PASSED = "ok"

# The basis is float64: eigh leaves an error of about 1e-14.
_ORTHONORMAL_ERROR = 1e-9

# One row for each row of the results; the numbers of a batch are in its first row, and 0 in the others.
_ROW = pa.schema(
    [("path", pa.string()), ("labels", pa.int64()), ("wrong_length", pa.int64()), ("not_finite", pa.int64())]
)


@dataclass(frozen=True)
class Readback:
    """The content of results that were read back.

    Attributes
    ----------
    labels : LabelDigest
        Number of rows, and digest of their labels.
    distinct_paths : int
        Number of different paths.
    wrong_length : int
        Number of rows with another number of components.
    not_finite : int
        Number of values that are not finite.
    """

    labels: LabelDigest
    distinct_paths: int
    wrong_length: int
    not_finite: int


def read_back(spark: "SparkSession", parts: list[str], k: int) -> Readback:
    """Read the parts of the results, which should have k components a row.

    The rows go to Spark, which counts distinct paths by two hashes of 96 bits together: nothing grows on the driver.

    Raises
    ------
    RunError
        For a part that cannot be read.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with Spark

    def read(part: str) -> Iterator[pa.RecordBatch]:
        for batch in read_part(part):
            vectors = batch.column("pca_features")
            values = vectors.flatten().to_numpy(zero_copy_only=False)
            numbers = (
                LabelDigest.of(Counter(label or "" for label in batch.column("label").to_pylist())).value,
                pc.sum(pc.not_equal(pc.list_value_length(vectors), k)).as_py(),
                int(np.count_nonzero(~np.isfinite(values))),
            )
            columns = [_first(number, batch.num_rows) for number in numbers]
            yield pa.RecordBatch.from_arrays([batch.column("path"), *columns], schema=_ROW)

    sums = [f.coalesce(f.sum(name), f.lit(0)).alias(name) for name in _ROW.names[1:]]
    paths = f.count_distinct(f.xxhash64("path"), f.hash("path")).alias("paths")
    found = collect_table(map_items(spark, parts, read, _ROW).agg(f.count("*").alias("rows"), paths, *sums))
    row = found.to_pylist()[0]
    labels = LabelDigest() + LabelDigest(row["rows"], row["labels"])
    return Readback(labels, row["paths"], row["wrong_length"], row["not_finite"])


def _first(number: int, rows: int) -> pa.Array:
    """Return a column of a batch of one or more rows whose first value is a number, and all others 0."""
    column = np.zeros(rows, np.int64)
    column[0] = number
    return pa.array(column)


def validate(snapshot: Snapshot, summary: TableSummary, results: Readback, basis: Basis) -> dict[str, str]:
    """Compare features and results with the listing; return for each check `PASSED`, or the difference."""
    counts, error = snapshot.counts, basis.orthonormal_error()
    features = summary.ok + summary.rejected
    return {
        "features rows": _compare(features.images, counts.listed),
        "features labels": _compare_labels(features, snapshot.label_digest),
        "features finite": _compare(summary.not_finite, 0),
        "results rows": _compare(results.labels.images, counts.ok),
        "results distinct paths": _compare(results.distinct_paths, counts.ok),
        "results labels": _compare_labels(results.labels, summary.ok),
        "results dimensions": _compare(results.wrong_length, 0),
        "results finite": _compare(results.not_finite, 0),
        "basis orthonormal": PASSED if error < _ORTHONORMAL_ERROR else f"off by {error:g}",
    }


def _compare(found: int, expected: int) -> str:
    return PASSED if found == expected else f"found {found:,}, expected {expected:,}"


def _compare_labels(found: LabelDigest, expected: LabelDigest) -> str:
    if found.value == expected.value:
        return PASSED
    return f"the labels of {found.images:,} images are not those of the {expected.images:,} expected ones"

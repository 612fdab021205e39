"""The current results, read as a table of Spark."""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from job.results.tables import read_results
from tests.job.results.parts import ROWS, output, rows

__all__ = ["output"]


def test_a_session_gives_a_spark_table_of_the_same_rows(spark: SparkSession, output: Path) -> None:
    frame = read_results(str(output), spark)
    assert not isinstance(frame, pa.Table)
    assert rows(frame.toArrow()) == sorted(ROWS)

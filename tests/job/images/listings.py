"""What the tests of listings share: files to list, and the rows of a listing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from job import storage
from job.images.folder_walk import LIMITS, WalkLimits
from job.images.listing import SCHEMA, Listing
from job.images.source import list_images
from job.settings import Settings
from job.spark.shipping import ship


@contextmanager
def aws_in_workers(spark: SparkSession) -> Iterator[None]:
    """Have the workers find the S3 that this process finds."""
    before = dict(spark.sparkContext.environment)
    spark.sparkContext.environment.update({name: value for name, value in os.environ.items() if name[:4] == "AWS_"})
    try:
        yield
    finally:
        spark.sparkContext.environment.clear()
        spark.sparkContext.environment.update(before)


def put(root: str, *names: str) -> None:
    """Write files of as many bytes as their name has letters."""
    for name in names:
        storage.write(f"{root}/{name}", b"x" * len(name))


def listed(spark: SparkSession, images: str, folder: str, limits: WalkLimits = LIMITS, **options: Any) -> Listing:
    """List images as the stage does, and return the listing."""
    ship(spark)
    return list_images(spark, Settings(images=images, **options), folder, limits=limits)


def rows(found: Listing) -> list[dict[str, Any]]:
    """Read the rows of a listing's parts."""
    result: list[dict[str, Any]] = []
    for part in found.parts:
        with storage.open_input(part.address) as file:
            table = pq.read_table(file)
        assert table.schema == SCHEMA
        assert table.num_rows == part.rows
        result += table.to_pylist()
    assert found.rows == len(result)
    return result


def labels(found: Listing) -> dict[str, str | None]:
    """Return the label of each path."""
    return {row["path"]: row["label"] for row in rows(found)}

"""What the tests of listings share: files to list, and the rows of a listing."""

from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from job import storage
from job.images.listing import SCHEMA, Listing
from job.images.source import list_images
from job.settings import Settings
from job.spark.shipping import ship


def put(root: str, *names: str) -> None:
    """Write files of as many bytes as their name has letters."""
    for name in names:
        storage.write(f"{root}/{name}", b"x" * len(name))


def listed(spark: SparkSession, images: str, folder: str, driver_images: int = 50_000, **options: Any) -> Listing:
    """List images as the stage does, and return the listing."""
    ship(spark)
    return list_images(spark, Settings(images=images, **options), folder, driver_images=driver_images)


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

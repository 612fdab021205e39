"""Addresses on a disk and on S3, for the tests of listings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(params=["local", "s3"])
def addresses(request: pytest.FixtureRequest, tmp_path: Path, spark: SparkSession) -> Iterator[tuple[str, str]]:
    """Return the addresses of a folder for images and of one for the listing."""
    if request.param == "local":
        yield str(tmp_path / "images"), str(tmp_path / "listing")
        return
    bucket = request.getfixturevalue("bucket")
    before = dict(spark.sparkContext.environment)
    spark.sparkContext.environment.update(request.getfixturevalue("s3_environment"))  # for the workers
    yield f"s3://{bucket}/images", f"s3://{bucket}/listing"
    spark.sparkContext.environment.clear()
    spark.sparkContext.environment.update(before)

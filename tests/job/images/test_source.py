"""Sources without images are refused, before any work where that is possible."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from job.errors import JobError
from job.images.source import check_images
from tests.job.images.listings import listed, put


def test_what_holds_no_image_is_refused_in_one_line(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    absent = f"^there is no {root}; --images takes a folder, an s3:// prefix or a manifest$"
    with pytest.raises(JobError, match=absent):
        check_images(root)
    put(root, "notes.txt")
    check_images(root)
    with pytest.raises(JobError, match=rf"^no image in {root}: nothing there ends in \.jpg, \.jpeg, "):
        listed(spark, root, folder)
    with pytest.raises(
        JobError, match=f"^{root}/notes.txt is a file, but not a manifest that ends in .csv or .parquet$"
    ):
        check_images(f"{root}/notes.txt")
    with pytest.raises(JobError, match=f"^there is no {root}/notes.txt/below;"):
        check_images(f"{root}/notes.txt/below")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=f"^{tmp_path} is empty$"):
        check_images(str(tmp_path))

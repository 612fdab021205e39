"""Sources without images are refused, before any work where that is possible."""

from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from job.errors import JobError
from job.images.label_counts import PART_LABELS, LabelDigest
from job.images.listing import ListedImage, write_parts
from job.images.source import check_images, count_labels
from job.spark.shipping import ship
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


def test_labels_that_the_tasks_did_not_count_are_counted_by_spark(spark: SparkSession, tmp_path: Path) -> None:
    ship(spark)
    names = ["a", "b", None, "b", "c", None, "b"]
    found = write_parts(
        (ListedImage(f"/{i}.jpg", name, 1, 1, None) for i, name in enumerate(names)), f"{tmp_path}/p", 3
    )
    assert count_labels(spark, found, most=4) == Counter({"b": 3, "": 2, "a": 1, "c": 1})
    assert count_labels(spark, found, most=3) is None


def test_more_labels_than_a_part_counts_are_all_counted(spark: SparkSession, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for number in range(PART_LABELS + 1):
        (images / f"{number}").mkdir(parents=True)
        (images / f"{number}" / "1.jpg").touch()
    found = listed(spark, str(images), str(tmp_path / "listing"))
    assert found.labels.by_label is not None
    assert found.labels.by_label == Counter({f"{number}": 1 for number in range(PART_LABELS + 1)})
    assert found.labels.digest == LabelDigest.of(found.labels.by_label)

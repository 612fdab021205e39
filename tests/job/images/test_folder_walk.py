"""The images of a folder or prefix, listed on the driver or by Spark."""

import os
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import boto3
import pytest
from pyspark.sql import SparkSession

from benchmarks.server import IMAGES, Contents, serving
from job import storage
from job.errors import JobError, RunError
from job.images.folder_reading import Reader, Span
from job.images.folder_walk import WalkLimits
from job.images.unlisted_folders import UnlistedFolders
from tests.faulty_s3 import Fault, FaultyS3, Request, always
from tests.job.images.listings import aws_in_workers, labels, listed, put, rows


def test_labels_are_the_names_of_the_images_folders(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    put(root, "top.jpg", "Apple/a.jpg", "Apple/b.jpg", "deep/er/Banana 1/c.jpg")
    found = listed(spark, root, folder)
    assert labels(found) == {
        f"{root}/top.jpg": None,
        f"{root}/Apple/a.jpg": "Apple",
        f"{root}/Apple/b.jpg": "Apple",
        f"{root}/deep/er/Banana 1/c.jpg": "Banana 1",
    }
    assert found.labels.by_label == {"": 1, "Apple": 2, "Banana 1": 1}


def test_length_and_time_are_those_that_reading_the_file_tells(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    put(root, "a.jpg", "sub/longer name.png")
    for row in rows(listed(spark, root, folder)):
        entry = storage.fetch(row["path"])[1]
        assert row["length"] == entry.length == len(row["path"].removeprefix(f"{root}/"))
        assert round(row["modified"].timestamp() * 1e6) == entry.modified
        assert row["fault"] is None


def test_endings_count_in_any_case_and_hidden_files_never(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    put(root, "a.jpg", "b.JPG", "c.Jpeg", "d.txt", "jpg", "e.jpg.txt", ".f.jpg", ".git/g.jpg", "sub/.h.jpg", "i.png")
    assert set(labels(listed(spark, root, folder))) == {
        f"{root}/{name}" for name in ("a.jpg", "b.JPG", "c.Jpeg", "i.png")
    }
    only = listed(spark, root, f"{folder}2", include="txt, .PNG")
    assert set(labels(only)) == {f"{root}/{name}" for name in ("d.txt", "e.jpg.txt", "i.png")}


NAMES = [
    "two words/a b.jpg",
    "100%/%41.jpg",
    "a#b?c/d&e+.jpg",
    "[b]/{c}.jpg",
    "Äpfel/苹果.jpg",
    'it\'s;/"q".jpg',
    "e\u0301/\u00e9.jpg",
]


def test_awkward_names_are_listed_as_they_are(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    put(root, *NAMES)
    assert labels(listed(spark, root, folder)) == {f"{root}/{name}": name.split("/")[0] for name in NAMES}


def tree(root: str) -> set[str]:
    names = [f"{a}/{b}/{c}.jpg" for a in ("x", "y") for b in ("p", "q", "r") for c in range(7)]
    names += ["0.jpg", "x/1.jpg", "y/2.jpg", "z/3.jpg"]
    put(root, *names, "x/notes.txt", "empty/.hidden.jpg")
    return {f"{root}/{name}" for name in names}


@pytest.mark.parametrize("bound", [1, 3, 4, 20, 45, 46])
def test_spark_lists_exactly_what_the_driver_does(spark: SparkSession, addresses: tuple[str, str], bound: int) -> None:
    root, folder = addresses
    expected = tree(root)
    alone = listed(spark, root, f"{folder}1")
    [part] = alone.parts
    assert re.fullmatch(r"driver-00000-[0-9a-f]{8}\.parquet", storage.name(part.address))
    together = listed(spark, root, f"{folder}2", WalkLimits(driver_images=bound, chunk=3))
    assert any("walk" in part.address for part in together.parts) == (bound < len(expected) - 1)
    assert sorted(rows(together), key=str) == sorted(rows(alone), key=str)
    assert together.labels == alone.labels
    assert sorted(row["path"] for row in rows(together)) == sorted(expected)


@pytest.mark.parametrize("limit", [1, 5, 45, 46, 1000])
def test_a_limit_takes_so_many_of_the_images(spark: SparkSession, tmp_path: Path, limit: int) -> None:
    expected = tree(str(tmp_path / "images"))
    found = listed(spark, str(tmp_path / "images"), str(tmp_path / "listing"), limit=limit)
    assert found.rows == min(limit, len(expected))
    paths = [row["path"] for row in rows(found)]
    assert len(set(paths)) == len(paths)
    assert set(paths) <= expected


@pytest.mark.parametrize("limits", [WalkLimits(), WalkLimits(driver_images=0, chunk=1)], ids=["driver", "tasks"])
def test_folders_that_link_to_their_own_ancestors_end(spark: SparkSession, tmp_path: Path, limits: WalkLimits) -> None:
    root = tmp_path / "images"
    put(str(root), "a/1.jpg", "b/2.jpg")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to(".")
    (root / "a" / "out").symlink_to(tmp_path)
    (root / "b" / "to a").symlink_to("../a")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    found = set(labels(listed(spark, str(root), str(tmp_path / "listing"), limits)))
    assert found == {f"{root}/{name}" for name in ("a/1.jpg", "b/2.jpg", "b/to a/1.jpg")}
    assert not storage.is_loop("/usr", "/")


def test_a_folder_that_may_not_be_listed_is_left_out_and_named(
    spark: SparkSession, faulty: FaultyS3, bucket: str, tmp_path: Path
) -> None:
    root = f"s3://{bucket}/photos"
    put(root, "apple/1.jpg", "lost+found/2.jpg", "pear/3.jpg")
    faulty.rule = lambda request: Fault.DENIED if "prefix=photos%2Flost%2Bfound%2F" in request.path else None
    found = listed(spark, root, str(tmp_path / "listing"))
    assert sorted(labels(found).values(), key=str) == ["apple", "pear"]
    assert found.unlisted == UnlistedFolders(1, (f"{root}/lost+found",))
    faulty.rule = always(Fault.DENIED, part="list-type")
    with pytest.raises(JobError, match=f"cannot list {root}"):
        listed(spark, root, str(tmp_path / "listing"))


def test_names_that_are_not_utf8_are_listed_with_a_fault(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(str(root), "good.jpg")
    os.mkdir(os.fsencode(root) + b"/d\xe9j\xe0")  # noqa: PTH102 - pathlib knows no bytes
    for name in (b"/\xff.jpg", b"/d\xe9j\xe0/vu.jpg"):
        Path(os.fsdecode(os.fsencode(root) + name)).write_bytes(b"12345")
    for driver_images in (50_000, 0):
        limits = WalkLimits(driver_images=driver_images)
        found = rows(listed(spark, str(root), str(tmp_path / f"listing{driver_images}"), limits))
        assert {(row["path"], row["label"], row["length"], row["fault"]) for row in found} == {
            (f"{root}/good.jpg", None, 8, None),
            (rf"{root}/\xff.jpg", None, 5, "name not UTF-8"),
            (rf"{root}/d\xe9j\xe0/vu.jpg", r"d\xe9j\xe0", 5, "name not UTF-8"),
        }


def test_rare_s3_keys_are_listed_and_end(spark: SparkSession, bucket: str) -> None:
    for key in ("/start.jpg", "a//b.jpg", "a/b.jpg", "bell\x07/c.jpg", "plain.jpg", "folder/"):
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    assert labels(listed(spark, f"s3://{bucket}", f"s3://{bucket}/.listing")) == {
        f"s3://{bucket}//start.jpg": None,
        f"s3://{bucket}/a//b.jpg": None,
        f"s3://{bucket}/a/b.jpg": "a",
        f"s3://{bucket}/bell\x07/c.jpg": "bell\x07",
        f"s3://{bucket}/plain.jpg": None,
    }


HOSTILE = [
    *(f"IMG_{number:04d}.jpg" for number in range(40)),
    *(
        "IMG_0007.jpg.jpg",
        "IMG_0007.JPG",
        "IMG_00",
        "a b+%41.jpg",
        "line\nbreak.jpg",
        "bell\x07.jpg",
        "\u00e9.jpg",
        "e\u0301.jpg",
    ),
    *("\u82f9\u679c.jpg", "\U0001f34e.jpg", "\U0010ffff.jpg", "/double.jpg", "/", ".hidden.jpg", "notes.txt", "z/"),
    *("IMG_0007.jpg/below.jpg", "IMG_001/a.jpg", "IMG_001/b/c.jpg", "a/a.jpg", "a//a.jpg", "zz/\U0010ffff.jpg"),
]


@pytest.fixture(scope="module")
def hostile(spark: SparkSession) -> Iterator[str]:
    """Yield a prefix with hostile keys; the server takes all keys, as S3 does."""
    names = ("before.jpg", "photos", *(f"photos/{name}" for name in HOSTILE), "photos0.jpg")
    with serving(Contents(names=names)), aws_in_workers(spark):
        yield f"s3://{IMAGES}/photos"


def hostile_images(root: str) -> list[str]:
    """Return the images among the hostile keys, as a plain listing of all keys shows them."""
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=IMAGES, Prefix="photos/")
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    below = [key.removeprefix("photos/") for key in keys]
    assert sorted(below) == sorted(HOSTILE)
    shown = [name for name in below if name.lower().endswith(".jpg") and not name.startswith(".")]
    return sorted(f"{root}/{name}" for name in shown)


@pytest.mark.server
@pytest.mark.parametrize(
    "limits",
    [
        WalkLimits(driver_images=0, chunk=1),
        WalkLimits(driver_images=8, task_images=15, chunk=3),
        WalkLimits(driver_folders=1, task_folders=2, task_spans=3, chunk=4),
    ],
    ids=["nothing on the driver", "few images", "few folders"],
)
def test_each_image_is_listed_once_however_a_folder_is_divided(
    spark: SparkSession, hostile: str, tmp_path: Path, limits: WalkLimits
) -> None:
    found = listed(spark, hostile, str(tmp_path / "listing"), limits)
    assert any("walk" in part.address for part in found.parts)
    assert sorted(row["path"] for row in rows(found)) == hostile_images(hostile)


@pytest.mark.server
@pytest.mark.parametrize("seed", range(30))
def test_ranges_of_names_hold_each_child_once(hostile: str, seed: int) -> None:
    rng = random.Random(seed)
    whole = list(storage.scan(hostile))
    names = [entry.address.removeprefix(f"{hostile}/") + "/" * entry.is_folder for entry in whole]
    assert names == sorted(names)
    # Some ends are names themselves, some are not; some ranges are empty.
    ends = sorted(
        {*rng.sample(names, 6), *(name[: rng.randint(1, 9)] for name in rng.sample(HOSTILE, 6)), "IMG_0041", "IMG_0042"}
    )
    ranges = [storage.NameRange(after, until) for after, until in pairwise(["", *ends, ""])]
    assert [entry for part in ranges for entry in storage.scan(hostile, part)] == whole


def test_a_key_that_is_added_or_deleted_meanwhile_costs_no_other(
    spark: SparkSession, faulty: FaultyS3, moto_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    root = f"s3://{bucket}/photos"
    names = [f"{number:03d}.jpg" for number in range(60)]
    put(root, *names)
    straight = boto3.client("s3", endpoint_url=moto_endpoint)
    asked = iter(
        [
            ("put_object", "0295.jpg"),
            ("delete_object", "030.jpg"),
            ("put_object", "000.jpg0.jpg"),
            ("delete_object", "059.jpg"),
        ]
    )

    def change(request: Request) -> None:
        if "list-type" in request.path and (change := next(asked, None)):
            getattr(straight, change[0])(Bucket=bucket, Key=f"photos/{change[1]}")

    faulty.rule = change
    with aws_in_workers(spark):
        found = listed(spark, root, str(tmp_path / "listing"), WalkLimits(driver_images=10, chunk=5))
    paths = [storage.name(row["path"]) for row in rows(found)]
    assert len(paths) == len({*paths})
    assert {*names} - {*paths} <= {"030.jpg", "059.jpg"}
    assert {*paths} - {*names} <= {"0295.jpg", "000.jpg0.jpg"}
    assert next(asked, None) is None


def test_a_folder_that_may_no_longer_be_listed_stops_the_listing(
    spark: SparkSession, faulty: FaultyS3, bucket: str, tmp_path: Path
) -> None:
    root = f"s3://{bucket}/photos"
    put(root, *(f"sub/{number:03d}.jpg" for number in range(60)))
    faulty.rule = lambda request: Fault.DENIED if "start-after" in request.path else None
    with pytest.raises(RunError, match="S3 refuses ListObjectsV2"), aws_in_workers(spark):
        listed(spark, root, str(tmp_path / "listing"), WalkLimits(driver_images=10, chunk=5))
    assert faulty.injected[Fault.DENIED] > 1  # a division that is refused is left to the task


def test_many_folders_are_handed_on_in_files(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path / "images")
    names = [f"{a}/{b}/{c}.jpg" for a in range(5) for b in range(8) for c in range(2)]
    put(root, *names)
    found = listed(spark, root, str(tmp_path / "listing"), WalkLimits(driver_folders=3, task_folders=2, task_spans=3))
    assert sorted(row["path"] for row in rows(found)) == sorted(f"{root}/{name}" for name in names)
    assert found.labels.by_label == {str(b): 10 for b in range(8)}
    rounds = {path.name.split("-")[1] for path in (tmp_path / "listing").glob("walk-*-pending-*")}
    assert rounds


def test_the_driver_reads_no_folder_to_its_end_that_holds_too_many_folders(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(str(root), *(f"{number:03d}/{number}.jpg" for number in range(40)))
    reader = Reader([Span(str(root))], str(root), (".jpg",), chunk=4)
    list(reader.read(folders=10))
    [reading] = reader.begun
    assert len(reading.found) == 12
    assert not reader.pending
    found = listed(spark, str(root), str(tmp_path / "listing"), WalkLimits(driver_folders=10, chunk=4))
    assert sorted(storage.name(row["path"]) for row in rows(found)) == sorted(f"{number}.jpg" for number in range(40))

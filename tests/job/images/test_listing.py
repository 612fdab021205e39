"""Which images there are: a folder, a prefix on S3 or a manifest, on the driver or by Spark."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job import storage
from job.errors import JobError
from job.images.folder_walk import is_loop
from job.images.listing import SCHEMA, ListedImage, Listing, write_parts
from job.images.source import check_images, list_images
from job.settings import Settings
from job.spark.shipping import ship


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


def put(root: str, *names: str) -> None:
    """Write files of as many bytes as their name has letters."""
    for name in names:
        storage.write(f"{root}/{name}", b"x" * len(name))


def listed(spark: SparkSession, images: str, folder: str, driver_images: int = 50_000, **options: Any) -> Listing:
    ship(spark)
    return list_images(spark, Settings(images=images, **options), folder, driver_images=driver_images)


def rows(found: Listing) -> list[dict[str, Any]]:
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
    return {row["path"]: row["label"] for row in rows(found)}


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
    assert found.labels == {"": 1, "Apple": 2, "Banana 1": 1}


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
    assert [storage.name(part.address) for part in alone.parts] == ["driver-00000.parquet"]
    together = listed(spark, root, f"{folder}2", driver_images=bound)
    assert any("walk" in part.address for part in together.parts) == (bound < len(expected))
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


def test_parts_are_bounded_and_in_the_order_of_a_hash_of_the_path(tmp_path: Path) -> None:
    images = [ListedImage(f"/images/{label}/{i:03d}.jpg", label, i, i, None) for label in "ab" for i in range(50)]
    found = write_parts(images, str(tmp_path / "part"), rows=40)
    assert [part.rows for part in found.parts] == [40, 40, 20]
    assert sorted(row["path"] for row in rows(found)) == sorted(image.path for image in images)
    for part in found.parts:
        paths = pq.read_table(part.address).column("path").to_pylist()
        assert [zlib.crc32(path.encode()) for path in paths] == sorted(zlib.crc32(path.encode()) for path in paths)
        assert paths != sorted(paths)
    assert found.labels == {"a": 50, "b": 50}


def test_folders_that_link_to_their_own_ancestors_end(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(str(root), "a/1.jpg", "b/2.jpg")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to(".")
    (root / "a" / "out").symlink_to(tmp_path)
    (root / "b" / "to a").symlink_to("../a")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    found = set(labels(listed(spark, str(root), str(tmp_path / "listing"))))
    assert found == {f"{root}/{name}" for name in ("a/1.jpg", "b/2.jpg", "b/to a/1.jpg")}
    assert not is_loop("/usr", "/")


def test_names_that_are_not_utf8_are_listed_with_a_fault(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(str(root), "good.jpg")
    os.mkdir(os.fsencode(root) + b"/d\xe9j\xe0")  # noqa: PTH102 - pathlib knows no bytes
    for name in (b"/\xff.jpg", b"/d\xe9j\xe0/vu.jpg"):
        Path(os.fsdecode(os.fsencode(root) + name)).write_bytes(b"12345")
    for driver_images in (50_000, 1):
        found = rows(listed(spark, str(root), str(tmp_path / f"listing{driver_images}"), driver_images))
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


def manifest(root: str, name: str, columns: dict[str, list[str | None]]) -> str:
    if name.lower().endswith(".csv"):
        lines = zip(*columns.values(), strict=True)
        text = "\n".join([",".join(columns), *(",".join(f'"{v}"' if v else "" for v in line) for line in lines)])
        storage.write(f"{root}/{name}", f"{text}\n".encode())
    else:
        with storage.create(f"{root}/{name}") as path:
            pq.write_table(pa.table(columns), path)
    return f"{root}/{name}"


@pytest.mark.parametrize("name", ["list.csv", "list.parquet", "LIST.CSV"])
def test_a_manifest_names_images_and_their_labels(spark: SparkSession, addresses: tuple[str, str], name: str) -> None:
    root, folder = addresses
    put(root, "a.jpg", "x/b.jpg", "x/c.odd", "x/d, e.jpg", "x/f.jpg")
    paths = ["a.jpg", f"{root}/x/b.jpg", "x/c.odd", "x/d, e.jpg", "x/f.jpg", "x/gone.jpg", "x"]
    own = ["red", "NA", None, "null", "7", "red", "red"]
    address = manifest(root, name, {"label": own, "other": ["o"] * 7, "path": paths})  # type: ignore[dict-item]
    check_images(address)
    found = rows(listed(spark, address, folder))
    assert {(row["path"], row["label"], row["length"], row["fault"]) for row in found} == {
        (f"{root}/a.jpg", "red", 5, None),
        (f"{root}/x/b.jpg", "NA", 7, None),
        (f"{root}/x/c.odd", None, 7, None),
        (f"{root}/x/d, e.jpg", "null", 10, None),
        (f"{root}/x/f.jpg", "7", 7, None),
        (f"{root}/x/gone.jpg", "red", None, "gone"),
        (f"{root}/x", "red", None, "gone"),
    }
    gone = [row["modified"] is None for row in found]
    assert gone == [row["fault"] == "gone" for row in found]


def test_a_manifest_without_labels_takes_the_folders_names(spark: SparkSession, addresses: tuple[str, str]) -> None:
    root, folder = addresses
    put(root, "a.jpg", "Apple/b.jpg")
    found = labels(listed(spark, manifest(root, "m.csv", {"path": ["a.jpg", "Apple/b.jpg"]}), folder))
    assert found == {f"{root}/a.jpg": "images", f"{root}/Apple/b.jpg": "Apple"}


def test_a_long_manifest_is_looked_up_by_spark(spark: SparkSession, tmp_path: Path) -> None:
    names = [f"{i % 7}/{i:05d}.jpg" for i in range(5_200)]
    for folder in range(7):
        (tmp_path / str(folder)).mkdir()
    for name in names[::2]:
        (tmp_path / name).touch()
    address = manifest(str(tmp_path), "m.parquet", {"path": names})  # type: ignore[dict-item]
    found = listed(spark, address, str(tmp_path / "listing"))
    assert len({part.address for part in found.parts}) == 2
    faults = {row["path"]: row["fault"] for row in rows(found)}
    assert faults == {f"{tmp_path}/{name}": None if i % 2 == 0 else "gone" for i, name in enumerate(names)}
    few = listed(spark, address, str(tmp_path / "few"), limit=5_100)
    assert {row["path"] for row in rows(few)} == {f"{tmp_path}/{name}" for name in names[:5_100]}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a.jpg", "b.jpg", "x/../a.jpg"]}, r"lists .*/a\.jpg more than once"),
        ({"path": ["a.jpg", None], "label": ["x", "y"]}, "has a row without a path"),
        ({"file": ["a.jpg"]}, "has no column `path`; it has file"),
        ({"path": []}, "lists nothing"),
    ],
)
@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_that_cannot_be_used_is_refused(
    spark: SparkSession, tmp_path: Path, name: str, columns: dict[str, list[str | None]], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        listed(spark, manifest(str(tmp_path), name, columns), str(tmp_path / "listing"))


@pytest.mark.parametrize(
    ("name", "data"), [("m.parquet", b"no parquet"), ("m.csv", b""), ("m.csv", b"path,label\na\n")]
)
def test_a_damaged_manifest_is_refused(spark: SparkSession, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(JobError, match=f"^cannot read the manifest {tmp_path}/{name}: .+"):
        listed(spark, str(tmp_path / name), str(tmp_path / "listing"))


def test_a_manifest_may_name_what_can_be_no_file(tmp_path: Path, spark: SparkSession) -> None:
    pq.write_table(pa.table({"path": ["a" * 300 + ".jpg", "nul\x00.jpg"]}), tmp_path / "list.parquet")
    found = rows(listed(spark, str(tmp_path / "list.parquet"), str(tmp_path / "listing")))
    assert [row["fault"] for row in found] == ["gone", "gone"]

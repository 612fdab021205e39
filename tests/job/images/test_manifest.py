"""The images that a manifest names, looked up one by one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job import storage
from job.errors import JobError
from job.images.source import check_images
from tests.job.images.listings import labels, listed, put, rows


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

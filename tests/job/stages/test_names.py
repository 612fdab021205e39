"""Names of images and outputs, whatever people and programs make up: kept exactly, from the listing to the CSV."""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from job import storage
from job.errors import JobError
from job.features.table import read_features
from job.images.listing import Listing
from job.images.manifest import manifest_batches
from job.images.source import list_images
from job.settings import Settings
from job.stages.featurize import check_output
from tests.conftest import make_images, run_json

ROOT = Path(__file__).resolve().parents[3]

LONG = "/".join(letter * 200 for letter in "lmno")  # 800 bytes and more, with a name as long as a name can be

# Below a folder: label, name.
IMAGES = [
    ("two words", " leading and trailing .jpg "),
    ("100%25 %41", "%2e%2e%2f.jpg"),
    ("a#b", "c?d=e&f#g.jpg"),
    ("plus+", "a:b+c.jpg"),
    ("[b]{c}", "*~(x)^<>|$HOME`ls`.jpg"),
    ("it's", 'so "quoted".jpg'),
    ("semi;colon", ";;.jpg"),
    ("comma,", "a,b.jpg"),
    ("new\nline", "a\r\nb\n.jpg"),
    ("tab\tbell\x07", "\x01\x1b[31m.jpg"),
    (unicodedata.normalize("NFC", "Äpfel é"), unicodedata.normalize("NFC", "é.jpg")),
    (unicodedata.normalize("NFC", "Äpfel é"), unicodedata.normalize("NFD", "é.jpg")),
    (unicodedata.normalize("NFD", "Äpfel é"), unicodedata.normalize("NFC", "é.jpg")),
    ("苹果", "🍎\u202e\u200b\ufeff.jpg"),
    ("=1+1", "=cmd.jpg"),
    ("@sum", "@.jpg"),
    ("-rf", "-rf.jpg"),
    ("+49", "+.jpg"),
    ("\ttab", "a.jpg"),
    ("\rreturn", "a.jpg"),
    ("-5", "numbers.jpg"),
    ("s3:", "s3:.jpg"),
    ("back\\slash", "\\xff \\n.jpg"),
    ("NULL", "NaN.jpg"),
    ("_hidden from Spark", "_a.jpg"),
    ("key=value", "a=b.jpg"),
    (LONG, "q" * 251 + ".jpg"),
]


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose images have names as they should not be, with links and loops, and its own odd name."""
    folder = tmp_path / "im ages; é #%?'[x]\n{y}"
    source = make_images(tmp_path / "source", {"any": len(IMAGES)})
    for number, (label, name) in enumerate(IMAGES):
        target = folder / label / name.rstrip()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "any" / f"{number:03d}.jpg", target)
    (folder / "links").mkdir()
    (folder / "links" / "to an image.jpg").symlink_to(source / "any" / "000.jpg")
    (folder / "links" / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "links" / "itself.jpg").symlink_to("itself.jpg")
    (folder / "links" / "up").symlink_to("..")
    for hidden in ("...", "..x", ".h"):
        (folder / hidden).mkdir()
        shutil.copy(source / "any" / "000.jpg", folder / hidden / "unseen.jpg")
    os.mkdir(os.fsencode(folder) + b"/d\xe9j\xe0")  # noqa: PTH102 - pathlib knows no bytes
    for raw in (b"/\xff;\n.jpg", b"/d\xe9j\xe0/vu.jpg"):
        shutil.copy(source / "any" / "000.jpg", os.fsdecode(os.fsencode(folder) + raw))
    yield folder
    shutil.rmtree(os.fsencode(folder))  # pytest's own cleaning stumbles over some of these


def test_a_run_keeps_every_name_from_listing_to_csv_under_the_c_locale(
    hostile: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output = tmp_path / "out put; é #%25?'\"[x]=é\n+"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONUTF8", "PYTHONIO"))}
    command = [sys.executable, "-m", "job", "run", "--images", str(hostile), "--model", str(tiny_model)]
    for reused in (0, len(IMAGES) + 3):
        done = subprocess.run(
            [*command, "--output", str(output), "--components", "3"],
            cwd=ROOT,
            env=environment | {"LC_ALL": "C"},
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        assert run_json(output)["counts"]["reused"] == reused

    expected = {f"{hostile}/{label}/{name.rstrip()}": label.rpartition("/")[2] for label, name in IMAGES}
    expected[f"{hostile}/links/to an image.jpg"] = "links"
    rejected = {rf"{hostile}/\xff;{chr(10)}.jpg": None, rf"{hostile}/d\xe9j\xe0/vu.jpg": r"d\xe9j\xe0"}

    table = read_features(str(output))
    assert isinstance(table, pa.Table)
    found = table.to_pylist()
    assert len(found) == len(expected) + len(rejected)
    assert {row["path"]: row["label"] for row in found if row["status"] == "ok"} == expected
    assert {row["path"]: row["label"] for row in found if row["status"] == "rejected"} == rejected
    assert {row["reason"] for row in found if row["status"] == "rejected"} == {"name not UTF-8"}
    assert all(Path(path).is_file() for path in expected)

    answer = pq.read_table(output / "pca_results").to_pylist()
    assert {row["path"]: row["label"] for row in answer} == expected
    assert len(answer) == len(expected)

    with (output / "pca_matrix.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file, delimiter=";"))
    assert lines[0] == ["path", "label", "pca_1", "pca_2", "pca_3"]
    assert [(path, label) for path, label, *_ in lines[1:]] == [
        (path, f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label)
        for path, label in sorted(expected.items())
    ]
    vectors = {row["path"]: row["pca_features"] for row in answer}
    for path, _, *numbers in lines[1:]:
        assert [pa.scalar(float(number), pa.float32()).as_py() for number in numbers] == vectors[path]
    assert any(number.startswith("-") for line in lines[1:] for number in line[2:])  # as they are

    with (output / "rejected.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file, delimiter=";"))
    why = r"the bytes of its name are not UTF-8 (in the path: \xNN); rename it"
    assert lines == [["path", "reason", "error"], *([path, "name not UTF-8", why] for path in sorted(rejected))]


# What a file may be called: no slash, no NUL, at most 255 bytes; hidden ones are not looked at.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=60)
NAME = TEXT.filter(lambda name: not name.startswith(".") and len(name.encode()) <= 240).map(lambda name: f"{name}.jpg")
S3_NAME = NAME.filter(lambda name: "\n" not in name)  # moto does not find such keys again; S3 itself does


def names(found: Listing) -> dict[str, tuple[str | None, int | None]]:
    rows: list[dict[str, Any]] = []
    for part in found.parts:
        with storage.open_input(part.address) as file:
            rows += pq.read_table(file).to_pylist()
    result = {row["path"]: (row["label"], row["length"]) for row in rows}
    assert len(result) == len(rows) == found.rows
    assert {row["fault"] for row in rows} == {None}
    return result


def check_names(root: str, files: dict[tuple[str, str], bytes]) -> None:
    """Write files by label and name, and have all that reads them agree on what they are called."""
    addresses = {storage.join(root, *parts): data for parts, data in files.items()}
    for address, data in addresses.items():
        storage.write(address, data)
    for address, data in addresses.items():
        assert storage.read(address) == data
        entry = storage.stat(address)
        assert (entry.address, entry.is_folder, entry.length) == (address, False, len(data))
        assert storage.fetch(address)[1] == entry
        with storage.open_input(address) as file:
            assert file.read() == data
    expected = {storage.join(root, *parts): (parts[0], len(data)) for parts, data in files.items()}
    found = list_images(None, Settings(images=root), f"{root}.listing")  # type: ignore[arg-type] # a short listing needs no Spark
    assert names(found) == expected
    first, *others = addresses
    storage.remove(first)
    assert not storage.exists(first)
    assert all(storage.read(address) == addresses[address] for address in others)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.tuples(NAME, NAME), st.binary(max_size=20), min_size=1, max_size=6))
@example({("l" * 255, "n" * 251 + ".jpg"): b"as long as names can be"})
def test_any_name_is_kept_on_a_disk(files: dict[tuple[str, str], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_names(f"{folder}/root", files)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.tuples(S3_NAME, S3_NAME), st.binary(max_size=20), min_size=1, max_size=4))
def test_any_name_is_kept_on_s3(bucket: str, files: dict[tuple[str, str], bytes]) -> None:
    check_names(f"s3://{bucket}/{uuid.uuid4().hex}", files)


def test_keys_as_long_as_they_can_be_and_labels_of_dots_and_nothing_on_s3(bucket: str) -> None:
    client = boto3.client("s3")
    longest = "photos/" + "l" * 500 + "/" + "é" * 256 + ".jpg"
    assert len(longest.encode()) == 1024
    keys = {longest: "l" * 500, "photos//empty.jpg": None, "photos/a/b//c.jpg": None, "photos/~/d.jpg": "~"}
    for key in (*keys, "photos/../hidden.jpg", "photos/.../hidden.jpg", "photos/..x/hidden.jpg"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    found = list_images(None, Settings(images=f"s3://{bucket}/photos"), f"s3://{bucket}/listing")  # type: ignore[arg-type]
    assert names(found) == {f"s3://{bucket}/{key}": (label, 1) for key, label in keys.items()}
    assert all(storage.read(f"s3://{bucket}/{key}") == b"x" for key in keys)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAME, st.none() | TEXT, min_size=1, max_size=6), st.sampled_from(["csv", "parquet"]))
def test_any_name_and_label_in_a_manifest_are_taken_as_they_are(labels: dict[str, str | None], kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in labels:
            Path(folder, name).write_bytes(b"x")
        manifest = Path(folder, f".manifest.{kind}")
        if kind == "csv":
            with manifest.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, quoting=csv.QUOTE_ALL)
                writer.writerow(["path", "label"])
                writer.writerows((name, label or "") for name, label in labels.items())
        else:
            pq.write_table(pa.table({"path": list(labels), "label": pa.array(labels.values(), pa.string())}), manifest)
        found = list_images(None, Settings(images=str(manifest)), f"{folder}/listing")  # type: ignore[arg-type]
        assert names(found) == {f"{folder}/{name}": (label, 1) for name, label in labels.items()}


def test_names_over_several_lines_in_a_long_manifest(tmp_path: Path) -> None:
    expected = {f"{tmp_path}/{number}" + "\nline" * 50 + ".jpg" for number in range(1, 6000)}
    (tmp_path / "manifest.csv").write_text("path\n" + "".join(f'"{path}"\n' for path in sorted(expected)))
    tables = list(manifest_batches(str(tmp_path / "manifest.csv")))
    assert len(tables) > 1  # Arrow reads a megabyte at a time
    assert {path for table in tables for path in table.column("path").to_pylist()} == expected


def test_a_name_that_is_not_utf8_is_never_taken_for_one_that_reads_like_it(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for raw in (b"\xff.jpg", rb"\xff.jpg", b"\\xff\xfe.jpg", b"\xff\\xfe.jpg"):
        Path(folder, os.fsdecode(raw)).write_bytes(b"x")
        os.utime(Path(folder, os.fsdecode(raw)), ns=(0, 0))
    found = list_images(None, Settings(images=str(folder)), f"{tmp_path}/listing")  # type: ignore[arg-type]
    rows = [row for part in found.parts for row in pq.read_table(part.address).to_pylist()]
    assert len({(row["path"], row["length"], row["modified"]) for row in rows}) == 4
    fine = [row["path"] for row in rows if row["fault"] is None]
    assert fine == [rf"{folder}/\xff.jpg"]
    assert sorted(row["path"] for row in rows if row["fault"]) == sorted(
        rf"{folder}/{name}.jpg" for name in (r"\xff", r"\x5cxff\xfe", r"\xff\x5cxfe")
    )


def test_an_output_that_is_not_utf8_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    output = os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")
    with pytest.raises(JobError, match=r"out\\xff is not UTF-8; use another --output$"):
        check_output(output)
    assert list(tmp_path.iterdir()) == []

"""One task of a wave: a row for each of its images, in order, in one features file."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from job import storage
from job.errors import RunError
from job.features.extraction import Extraction, extract_features, extract_or_refuse, probe
from job.features.extractor import FeatureExtractor
from job.features.layout import model_folder
from job.features.model import decode_options, read_model
from job.features.table import BATCH_ROWS, SCHEMA
from job.features.wave_plan import Slice
from job.images.decode import decode
from job.images.listing import ListedImage, write_parts
from job.settings import Settings
from tests.conftest import make_images
from tests.faulty_s3 import Fault, FaultyS3, always
from tests.job.features.stores import FINGERPRINT


@pytest.fixture
def extraction(tmp_path: Path, tiny_model: Path) -> Extraction:
    """Return an extraction whose output keeps the model."""
    for file in tiny_model.iterdir():
        storage.write(storage.join(model_folder(str(tmp_path / "out"), FINGERPRINT), file.name), file.read_bytes())
    options = decode_options(read_model(str(tiny_model)), Settings())
    return Extraction(str(tmp_path / "out"), "r", FINGERPRINT, options, isolated=False)


def listed(path: Path, label: str | None = None) -> ListedImage:
    entry = storage.stat(str(path))
    return ListedImage(str(path), label, entry.length, entry.modified, None)


def listing(folder: Path, images: list[ListedImage]) -> list[Slice]:
    """Write a listing; return its parts whole."""
    return [Slice(part.address, 0, part.rows) for part in write_parts(images, str(folder / "listing")).parts]


def test_each_image_of_the_slices_gives_one_row_in_order(extraction: Extraction, tmp_path: Path) -> None:
    paths = sorted(make_images(tmp_path / "images", {"apple": 6}).rglob("*.jpg"))
    for path in paths[::2]:
        path.write_text("no image")
    [whole] = listing(tmp_path, [listed(path, "apple") for path in paths])
    order = [Path(path) for path in pq.read_table(whole.part).column("path").to_pylist()]
    shares = [[Slice(whole.part, 0, 2)], [Slice(whole.part, 2, 3), Slice(whole.part, 3, 6)]]
    _, task = extraction.tasks(7, shares)
    assert task.rows == 4
    extracted = extract_features(task)
    assert extracted.file.name.startswith(f"features/model={FINGERPRINT}/wave=r-0007/part-00001-")
    file = Path(extraction.output, extracted.file.name)
    assert (extracted.file.rows, extracted.file.bytes) == (4, file.stat().st_size)
    table = pq.read_table(file)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [row["path"] for row in rows] == [str(path) for path in order[2:]]
    assert extracted.statuses == Counter(row["status"] for row in rows)
    assert {(row["label"], row["run"]) for row in rows} == {("apple", "r")}
    extractor = FeatureExtractor(read_model(model_folder(extraction.output, FINGERPRINT)))
    for row, path in zip(rows, order[2:], strict=True):
        if path in paths[::2]:
            assert (row["status"], row["reason"]) == ("rejected", "not an image")
            assert row["features"] is row["colours"] is row["width"] is None
        else:
            assert (row["status"], row["reason"], row["width"], row["height"]) == ("ok", None, 40, 40)
            expected = extractor.extract(decode(path.read_bytes(), 32).pixels)
            assert np.array_equal(np.float32(row["features"]), expected)


def test_more_rows_than_are_written_at_a_time_are_all_there(extraction: Extraction, tmp_path: Path) -> None:
    missing = [ListedImage(f"/nowhere/{number:05d}.jpg", None, 1, 1, None) for number in range(2 * BATCH_ROWS + 1)]
    [task] = extraction.tasks(0, [listing(tmp_path, missing)])
    extracted = extract_features(task)
    assert extracted.statuses == {"rejected": 2 * BATCH_ROWS + 1}
    paths = pq.read_table(Path(extraction.output, extracted.file.name)).column("path").to_pylist()
    assert sorted(paths) == [image.path for image in missing]


def test_two_attempts_of_a_task_write_files_of_their_own(extraction: Extraction, tmp_path: Path) -> None:
    [path] = make_images(tmp_path / "images", {"apple": 1}).rglob("*.jpg")
    [task] = extraction.tasks(0, [listing(tmp_path, [listed(path)])])
    assert extract_features(task).file.name != extract_features(task).file.name


def test_refused_credentials_are_returned_by_a_task_and_a_refusal_of_all_is_raised_by_the_probe(
    extraction: Extraction, faulty: FaultyS3, bucket: str, tmp_path: Path
) -> None:
    address = f"s3://{bucket}/a.jpg"
    storage.write(address, b"x")
    entry = storage.stat(address)
    slices = listing(tmp_path, [ListedImage(address, None, entry.length, entry.modified, None)])
    [task] = extraction.tasks(0, [slices])
    faulty.rule = always(Fault.EXPIRED, part="a.jpg")
    refused = extract_or_refuse(task)
    assert isinstance(refused, PermissionError)
    assert refused.filename == address
    for fault in (Fault.DENIED, Fault.EXPIRED):
        faulty.rule = always(fault, part="a.jpg")
        with pytest.raises(RunError, match=f"^cannot read or write {address}: S3 refuses GetObject"):
            probe(slices, extraction.options)
    probe([], extraction.options)  # where there is no image, none is refused


def test_a_row_keeps_the_limit_that_its_image_was_over(extraction: Extraction, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(extraction.options.memory_bytes + 1)
    [task] = extraction.tasks(0, [listing(tmp_path, [listed(path)])])
    table = pq.read_table(Path(extraction.output, extract_features(task).file.name))
    assert table.column("reason").to_pylist() == ["over the memory bound"]
    assert table.column("bound").to_pylist() == [float(extraction.options.memory_bytes)]

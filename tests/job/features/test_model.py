"""A model folder: what is accepted, what is refused and how."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from job.errors import JobError
from job.features.model import Model, ModelDescription, read_model
from tests.job.features.models import NETWORK, write_model


def test_a_model_folder_is_read_whole(tmp_path: Path) -> None:
    model = read_model(str(write_model(tmp_path / "m", something_newer=1)))
    assert model.tflite == NETWORK
    assert model.json == (tmp_path / "m" / "model.json").read_bytes()
    description = model.description
    assert (description.alpha, description.input_size, description.n_features, description.weights) == (
        0.35,
        224,
        1280,
        "embedded",
    )
    assert description.name == "MobileNetV2 alpha 0.35, 224 x 224, embedded weights"


def test_a_model_folder_on_s3_is_read_as_a_local_one(bucket: str, tmp_path: Path) -> None:
    from job import storage  # noqa: PLC0415 - the fixture has pointed it to the server

    local = write_model(tmp_path / "m")
    for file in local.iterdir():
        storage.write(f"s3://{bucket}/m/{file.name}", file.read_bytes())
    assert read_model(f"s3://{bucket}/m") == read_model(str(local))


def test_a_zip_of_a_folder_is_read_as_the_folder(bucket: str, tmp_path: Path) -> None:
    from job import storage  # noqa: PLC0415 - the fixture has pointed it to the server

    local = write_model(tmp_path / "m")
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", local))
    storage.write(f"s3://{bucket}/m.zip", zipped.read_bytes())
    assert read_model(str(zipped)) == read_model(f"s3://{bucket}/m.zip") == read_model(str(local))


def test_a_zip_that_is_none_or_lacks_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"no zip")
    with pytest.raises(JobError, match=r"the model at .*m\.zip is damaged: File is not a zip file"):
        read_model(str(tmp_path / "m.zip"))
    folder = write_model(tmp_path / "m")
    (folder / "model.tflite").unlink()
    zipped = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    with pytest.raises(JobError, match=r"no model at .*zipped\.zip: model\.tflite is missing; build one"):
        read_model(zipped)
    with pytest.raises(JobError, match=r"no model at .*none\.zip: .*none\.zip is missing"):
        read_model(str(tmp_path / "none.zip"))


def spoil_network(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(NETWORK[:-1] + b"K")


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.json").write_text(text)

    return spoil


@pytest.mark.parametrize(
    ("changes", "spoil", "words"),
    [
        ({}, shutil.rmtree, r"^no model at {}: .*model\.json is missing; build one with: python -m bootstrap\.model"),
        ({}, drop("model.json"), r"^no model at {}: .*model\.json is missing; build one"),
        ({}, drop("model.tflite"), r"^no model at {}: .*model\.tflite is missing; build one"),
        (
            {},
            spoil_network,
            r"^the model at {} is damaged: model\.tflite is not the file that model\.json names; build",
        ),
        ({}, write("{"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({}, write("[1]"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({}, write("{}"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({"format": 2}, None, r"^the model at {} has format 2, this version reads format 1; build it anew"),
        ({"alpha": ...}, None, r"^the model at {} is damaged: model\.json: .*alpha"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], spoil: Callable[[Path], None] | None, words: str
) -> None:
    folder = write_model(tmp_path / "m", **changes)
    if spoil:
        spoil(folder)
    with pytest.raises(JobError, match=words.format(re.escape(str(folder)))) as caught:
        read_model(str(folder))
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("")
    with pytest.raises(JobError, match=r"^no model at"):
        read_model(str(tmp_path / "m"))


def test_the_fingerprint_tells_apart_what_changes_the_numbers(tmp_path: Path) -> None:
    model = read_model(str(write_model(tmp_path / "a")))
    renamed = read_model(str(write_model(tmp_path / "b", weights_note="another")))
    other = Model(ModelDescription(**{**vars(model.description), "tflite_sha256": "1" * 64}), b"", b"")
    prints = [model.fingerprint(1, "fast", 9), model.fingerprint(2, "fast", 9), model.fingerprint(1, "exact", 9)]
    prints += [model.fingerprint(1, "fast", 8), other.fingerprint(1, "fast", 9)]
    assert len(set(prints)) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", text) for text in prints)
    assert renamed.fingerprint(1, "fast", 9) == prints[0]

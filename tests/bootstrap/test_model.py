"""The model folder: the embedded one is whole, and every refusal is one line. Nothing here loads TensorFlow."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bootstrap import model as models
from bootstrap.embedded.evaluation import leave_one_out
from bootstrap.model import EMBEDDED_FOLDER, ModelSpec, make
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from job.images.decode import decode
from tests.bootstrap.conftest import Sample


def test_embedded_folder_is_whole_and_small() -> None:
    whole = read_model(str(EMBEDDED_FOLDER))
    said = whole.description
    assert (said.architecture, said.alpha, said.input_size, said.n_features) == ("MobileNetV2", 0.35, 224, 1280)
    assert said.weights == "embedded"
    assert "rendered fruit" in said.weights_note
    assert "not on ImageNet" in said.weights_note
    assert len(whole.tflite) + len(whole.json) <= 2_000_000


def test_embedded_model_tells_fruit_apart(sample_images: Sample) -> None:
    extractor = FeatureExtractor(read_model(str(EMBEDDED_FOLDER)))
    chosen = [(name.split("/")[0], data) for name, data in sample_images[::6]]
    features = np.stack([extractor.extract(decode(data, 224).pixels) for _, data in chosen])
    assert leave_one_out(features, [label for label, _ in chosen]) > 0.9


def test_embedded_needs_neither_tensorflow_nor_the_network(tmp_path: Path) -> None:
    code = (
        "import sys, socket\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "def no(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = no\n"
        "from bootstrap.model import main\n"
        f"sys.exit(main(['--weights', 'embedded', '--output', {str(tmp_path / 'm')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rendered fruit only" in done.stdout
    assert read_model(str(tmp_path / "m")).description.weights == "embedded"


def test_without_tensorflow_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from bootstrap.model import main\n"
        f"sys.exit(main(['--weights', 'imagenet', '--output', {str(tmp_path / 'm')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install -r requirements.txt" in done.stderr


def test_same_model_is_left_and_another_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    made, anew = make(ModelSpec("embedded"), folder)
    assert anew
    before = (folder / "model.tflite").stat().st_mtime_ns
    assert make(ModelSpec("embedded"), folder) == (made, False)
    assert make(ModelSpec("embedded", 0.35, 224), folder) == (made, False)
    assert (folder / "model.tflite").stat().st_mtime_ns == before
    other = replace(made, weights="mine.h5")
    (folder / "model.json").write_bytes(other.to_bytes())
    assert make(ModelSpec("embedded"), folder) == (made, True)
    (folder / "model.tflite").write_bytes(b"damaged")
    assert make(ModelSpec("embedded"), folder) == (made, True)
    assert make(ModelSpec("embedded"), folder) == (made, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "embedded", "--alpha", "1.0"], "leave out --alpha and --input-size"),
        (["--weights", "embedded", "--input-size", "96"], "leave out --alpha and --input-size"),
        (["--weights", "nothing.h5"], "cannot read the weights nothing.h5"),
        (["--weights", "imagenet", "--alpha", "0.4"], "no ImageNet weights for alpha 0.4"),
        (["--weights", "imagenet", "--input-size", "100"], "input size 96, 128, 160, 192, 224"),
        (["--weights", "nothing.h5", "--alpha", "-1"], "--alpha -1 is out of range"),
        (["--weights", "nothing.h5", "--alpha", "nan"], "--alpha nan is out of range"),
        (["--weights", "nothing.h5", "--input-size", "5"], "--input-size 5 is out of range"),
    ],
)
def test_refusals_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.main([*arguments, "--output", str(tmp_path / "m")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(JobError, match=r"letter\.txt: choose another --output"):
        make(ModelSpec("embedded"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="is a file"):
        make(ModelSpec("embedded"), tmp_path / "file")

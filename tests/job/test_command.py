"""The commands as a user types them: processes of their own, what they print, how they exit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyspark
import pytest

from job.__main__ import main
from tests.conftest import make_images, run_json

ROOT = Path(__file__).resolve().parents[2]

# Loaded by every Python process that finds it: the driver, Spark's daemon, the workers.
COUNTING = """
import os
import PIL.Image

def counted(function, word):
    def wrapper(*args, **kwargs):
        with open(os.environ["COUNT_FILE"], "a") as file:
            file.write(word + "\\n")
        return function(*args, **kwargs)
    return wrapper

PIL.Image.open = counted(PIL.Image.open, "decoded")
from ai_edge_litert.interpreter import Interpreter
Interpreter.invoke = counted(Interpreter.invoke, "inferred")
"""


def job(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*environment.pop("PYTHONPATH", "").split(os.pathsep), str(ROOT)]).lstrip(os.pathsep)
    return subprocess.run(
        # Py4J leaves sockets to the garbage collector, which by default nobody hears of.
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-m", "job", *arguments],
        cwd=cwd,
        env=os.environ | environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.spark
def test_run_infers_each_image_once_and_says_what_it_did(tmp_path: Path, tiny_model: Path) -> None:
    images = make_images(tmp_path / "images", {"apple": 30, "banana": 34})
    (images / "banana" / "broken.jpg").write_text("no image")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(COUNTING)
    done = job(
        *("run", "--images", "images", "--model", str(tiny_model), "--output", "out", "--components", "3"),
        cwd=tmp_path,
        PYTHONPATH=str(hooks),
        COUNT_FILE=str(tmp_path / "counts"),
    )
    assert done.returncode == 0, done.stderr
    # The report decodes its sample again: here all that is usable.
    assert Counter((tmp_path / "counts").read_text().split()) == {"decoded": 65 + 64, "inferred": 64}
    assert run_json(tmp_path / "out")["counts"] == {"listed": 65, "reused": 0, "new": 65, "ok": 64, "rejected": 1}
    # A normal run shows neither warnings nor the JVM's chatter, and names where things are.
    assert "65 images: 64 ok, 1 rejected; 0 reused, 65 new" in done.stdout
    assert f"results in {tmp_path / 'out'}" in done.stdout
    words = (done.stdout + done.stderr).lower()
    assert not [word for word in ("warn", "deprecat", "incubator", "xnnpack", "traceback", "log4j") if word in words]
    assert "for tests" in done.stderr  # what the weights are is said before anything is inferred
    [log] = (tmp_path / "out" / "logs").glob("*.log")
    assert str(log) in done.stdout
    assert "incubator" in log.read_text()
    # The line that it prints for opening the results does open them.
    [command] = [line for line in done.stdout.splitlines() if line.startswith("open")]
    opened = subprocess.run(
        command.removeprefix("open").strip(),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[64 rows x 4 columns]" in opened.stdout


@pytest.mark.spark
def test_two_executors_of_a_cluster_give_the_same_features_bit_for_bit(tmp_path: Path, tiny_model: Path) -> None:
    images = make_images(tmp_path / "images", {"apple": 20, "banana": 20})
    # Spark's workers of a local cluster keep their executors' folders here, whatever the settings.
    work = Path(pyspark.__file__).parent / "work"
    before = set(work.glob("app-*"))
    outputs = []
    for master in ("local[2,4]", "local-cluster[2,1,1024]"):
        output = tmp_path / master[:7].strip("[")
        # From a folder in which there is no package `job`: it ships itself to the executors.
        done = job(
            *("run", "--images", str(images), "--model", str(tiny_model), "--output", str(output), "--master", master),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        frame = pd.read_parquet(output / "features").sort_values("path", ignore_index=True)
        outputs.append((np.stack(list(frame["features"])), list(frame["path"])))
    assert outputs[0][1] == outputs[1][1]
    assert np.array_equal(outputs[0][0], outputs[1][0])
    [application] = set(work.glob("app-*")) - before
    executors = len(list(application.glob("*/stderr")))
    shutil.rmtree(application)
    assert executors == 2


@pytest.mark.spark
def test_ctrl_c_exits_with_130_and_the_next_run_goes_on(tmp_path: Path, tiny_model: Path) -> None:
    images = make_images(tmp_path / "images", {"apple": 8})
    arguments = ["run", "--images", str(images), "--model", str(tiny_model), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "job", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "images listed" in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert words.strip().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in words
    assert job(*arguments, cwd=ROOT).returncode == 0
    assert run_json(tmp_path / "out")["counts"]["ok"] == 8


@pytest.fixture
def good(tmp_path: Path, tiny_model: Path) -> dict[str, str]:
    images = make_images(tmp_path / "images", {"apple": 2})
    return {"--images": str(images), "--model": str(tiny_model), "--output": str(tmp_path / "out")}


def no_session(*_: object) -> NoReturn:
    raise AssertionError("Spark was started")


BAD = [
    ({"--images": "absent"}, "there is no "),
    ({"--images": "empty"}, "empty is empty"),
    ({"--images": "file.txt"}, "is a file, but not a manifest"),
    ({"--model": "absent"}, "no model at "),
    ({"--model": "damaged"}, "is damaged: model.tflite is not the file that model.json names"),
    ({"--model": "future"}, "has format 99, this version reads format 1"),
    ({"--output": "file.txt"}, "cannot write to "),
    ({"--output": "/proc/nowhere"}, "cannot write to /proc/nowhere"),
    ({"--components": "0"}, "--components 0 is out of range; it is at least 1"),
    ({"--components": "17"}, "--components 17 is out of range: the model gives 16 features"),
    ({"--variance": "1.5"}, "--variance 1.5 is out of range; it is above 0 and at most 1"),
    ({"--variance": "nan"}, "--variance nan is out of range"),
    ({"--variance": "0.5", "--components": "3"}, "--components and --variance contradict each other"),
    ({"--pca-model": "absent"}, "no basis at "),
    ({"--limit": "0"}, "--limit 0 is out of range; it is at least 1"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[f"{next(iter(change.items()))}" for change, _ in BAD])
def test_bad_input_is_one_line_and_status_2_before_spark_starts(
    change: dict[str, str],
    message: str,
    good: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("text")
    model = Path(good["--model"])
    description = json.loads((model / "model.json").read_text())
    for name, fields, tflite in (
        ("damaged", description, b"else"),
        ("future", description | {"format": 99}, (model / "model.tflite").read_bytes()),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps(fields))
        (tmp_path / name / "model.tflite").write_bytes(tflite)
    arguments = [word for option in (good | change).items() for word in option]
    assert main(["run", *arguments], no_session) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.spark
def test_a_folder_without_images_is_refused(
    good: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images" / "apple" / "000.jpg").rename(tmp_path / "images" / "apple" / "000.txt")
    (tmp_path / "images" / "apple" / "001.jpg").rename(tmp_path / "images" / "apple" / ".001.jpg")
    done = job("run", *(word for option in good.items() for word in option), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: no image in {tmp_path / 'images'}")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["run", "--help"], ["prune", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
        text = capsys.readouterr().out
        assert "exit status" in text
        assert "--images photos" in text

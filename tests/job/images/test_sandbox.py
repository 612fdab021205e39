"""Decoding under limits, with decoders (Pillow plugins) that kill their process, hang or eat memory."""

import faulthandler
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from job.features.snapshot import Counts
from job.features.table import read_features
from job.images import sandbox
from job.images.decode import DecodedImage, decode
from job.images.rejection import Rejected
from job.images.sandbox import DecodeOptions, Decoder
from job.settings import Settings
from job.stages.featurize import featurize
from tests.conftest import make_images, run_json
from tests.job.images.test_decode import encoded, scene
from tests.job.test_command import job

# Every Python process that finds it (the driver, Spark's workers, the children) gets decoders that are hostile. What
# they do, they do while they load pixels, as a real one would.
HOSTILE = """
import ctypes, os, signal, sys, time
from PIL import Image, ImageFile

def crash():
    os.kill(os.getpid(), signal.SIGKILL)

def fault():
    ctypes.string_at(0)

def hang():
    time.sleep(600)

def hold():
    # A C function called so keeps the interpreter's lock: no other thread of Python runs.
    ctypes.PyDLL(None).sleep(600)

def eat():
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1) * (16 << 20)))

def chatter():
    os.write(1, b"words that nobody asked for")
    print("more of them", flush=True)

def leave():
    os._exit(3)

class Hostile(ImageFile.ImageFile):
    format = "HOSTILE"
    format_description = "does what it says"

    def _open(self):
        self.deed = self.fp.read().split()[1].decode()
        self._size, self._mode = (8, 8), "RGB"

    def load(self):
        deed, self.deed = self.deed, None
        if deed:
            with open(os.environ.get("DEEDS", os.devnull), "a") as file:
                file.write(deed + "\\n")
            globals()[deed]()
        self.load_prepare()
        return Image.Image.load(self)

Image.register_open("HOSTILE", Hostile, lambda prefix: prefix.startswith(b"HOSTILE"))
"""

OPTIONS = DecodeOptions(input_size=32, mode="fast", max_pixels=10_000_000, seconds=2, memory_bytes=256 << 20)


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hooks")
    (folder / "sitecustomize.py").write_text(HOSTILE)
    return folder


@pytest.fixture
def child(hooks: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    with Decoder(OPTIONS, isolated=True) as decoder:
        yield decoder


def hostile(deed: str) -> bytes:
    return f"HOSTILE {deed} ".encode()


def rejection(decoder: Decoder, data: bytes) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        decoder.decode(data)
    return caught.value.reason, caught.value.error


def same(found: DecodedImage, expected: DecodedImage) -> bool:
    sizes = (found.width, found.height) == (expected.width, expected.height)
    return sizes and np.array_equal(found.pixels, expected.pixels)


def test_a_child_gives_what_decoding_here_gives(child: Decoder) -> None:
    for data in (encoded(scene(), "PNG"), encoded(scene(), "JPEG"), encoded(scene(90, 50), "WEBP")):
        assert same(child.decode(data), decode(data, 32))
    assert rejection(child, b"") == ("zero bytes", "the file is empty")
    assert rejection(child, b"nothing") == ("not an image", "no known image format")
    reason, error = rejection(child, encoded(Image.new("RGB", (4000, 3000)), "PNG"))
    assert (reason, error) == ("too many pixels", "4000 x 3000 pixels, more than the limit of 10000000")


@pytest.mark.parametrize(
    ("deed", "reason", "words"),
    [
        ("crash", "decoder crashed", "signal 9 (Killed)"),
        ("fault", "decoder crashed", "signal 11 (Segmentation fault)"),
        ("leave", "decoder crashed", "exit status 3"),
        ("hang", "over the time bound", "decoding took more than 2 s"),
        ("hold", "over the time bound", "decoding took more than 2 s"),
        ("eat", "over the memory bound", "decoding takes more than 256 MB"),
    ],
)
def test_a_image_that_would_cost_the_process_is_rejected_and_the_next_is_decoded(
    child: Decoder, deed: str, reason: str, words: str
) -> None:
    good = encoded(scene(), "PNG")
    assert same(child.decode(good), decode(good, 32))
    started = time.monotonic()
    found, error = rejection(child, hostile(deed))
    assert time.monotonic() - started < 15
    assert found == reason
    assert words in error
    assert same(child.decode(good), decode(good, 32))


def test_what_a_decoder_prints_does_not_come_between_the_answers(child: Decoder) -> None:
    assert (child.decode(hostile("chatter")).pixels == 0).all()
    assert rejection(child, b"nothing")[0] == "not an image"


def test_a_child_is_kept_from_image_to_image_and_ends_with_its_decoder(hooks: Path) -> None:
    data = encoded(scene(), "PNG")
    with Decoder(OPTIONS, isolated=True) as decoder:
        decoder.decode(data)
        assert decoder._child is not None
        process = decoder._child._process
        decoder.decode(data)
        assert decoder._child._process is process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_child_ends_when_its_parent_is_killed(hooks: Path, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(encoded(scene(), "PNG"))
    program = (
        "import os, signal, sys\n"
        "from job.images.sandbox import Decoder, DecodeOptions\n"
        "decoder = Decoder(DecodeOptions(32, 'fast', 10_000, 60, 256 << 20), isolated=True)\n"
        "decoder.decode(open(sys.argv[1], 'rb').read())\n"
        "print(decoder._child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "image.png")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_here_limits_are_set_for_each_image_and_taken_back() -> None:
    seen = []

    class Spying(DecodeOptions):
        def decode(self, data: bytes) -> DecodedImage:
            seen.append((signal.getitimer(signal.ITIMER_REAL)[0], resource.getrlimit(resource.RLIMIT_AS)[0]))
            return super().decode(data)

    before = resource.getrlimit(resource.RLIMIT_AS)
    with Decoder(Spying(**asdict(OPTIONS)), isolated=False) as decoder:
        assert same(decoder.decode(encoded(scene(), "PNG")), decode(encoded(scene(), "PNG"), 32))
        with pytest.raises(Rejected):
            decoder.decode(b"nothing")
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for seconds, bound in seen:
        assert 1.9 < seconds <= 2
        assert bound == pytest.approx(pages + (256 << 20), rel=0.2)
    assert len(seen) == 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_image_for_which_memory_is_short_here_is_decided_by_a_child(
    hooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(DecodeOptions):
        def decode(self, data: bytes) -> DecodedImage:
            raise MemoryError

    monkeypatch.setenv("PYTHONPATH", str(hooks))
    good = encoded(scene(), "PNG")
    with Decoder(Short(**asdict(OPTIONS)), isolated=False) as decoder:
        assert same(decoder.decode(good), decode(good, 32))
        assert rejection(decoder, hostile("eat"))[0] == "over the memory bound"


@pytest.mark.parametrize(("deed", "status"), [("hang", signal.SIGALRM), ("hold", signal.SIGALRM), ("crash", 9)])
def test_here_an_image_that_hangs_ends_the_process_and_tells_where(hooks: Path, deed: str, status: int) -> None:
    program = (
        "from job.images.sandbox import Decoder, DecodeOptions\n"
        f"Decoder(DecodeOptions(32, 'fast', 10_000, 1, 256 << 20), isolated=False).decode({hostile(deed)!r})"
    )
    environment = os.environ | {"PYTHONPATH": f"{hooks}{os.pathsep}{Path(__file__).parents[3]}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -status
    assert (f"in {deed}" in done.stderr) == (status == signal.SIGALRM)


def test_a_run_with_hostile_images_finishes_and_rejects_each_for_its_reason(
    spark: SparkSession, tmp_path: Path, tiny_model: Path, hooks: Path
) -> None:
    images = make_images(tmp_path / "images", {"apple": 20, "banana": 20})
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "plain"))
    featurize(spark, settings)
    reasons = {"crash": "decoder crashed", "hang": "over the time bound", "eat": "over the memory bound"}
    for number, deed in enumerate(reasons):
        (images / ("apple", "banana")[number % 2] / f"{deed}.jpg").write_bytes(hostile(deed))
    output = tmp_path / "out"
    options = ("--images", str(images), "--model", str(tiny_model), "--output", str(output), "--components", "3")
    limits = ("--decode-seconds", "2", "--decode-megabytes", "256")
    done = job("run", *options, *limits, cwd=tmp_path, PYTHONPATH=str(hooks))
    assert done.returncode == 0, done.stderr
    assert run_json(output)["counts"] == {"listed": 43, "reused": 0, "new": 43, "ok": 40, "rejected": 3}
    assert rejections(output) == reasons
    frame, plain = features(output), features(tmp_path / "plain")
    good = frame[frame["status"] == "ok"]
    assert list(good["path"]) == list(plain["path"])
    assert np.array_equal(np.stack(list(good["features"])), np.stack(list(plain["features"])))
    assert not re.search("traceback|error", done.stdout + done.stderr, re.IGNORECASE)

    # Known is known, until it is asked for. This session has no hostile decoders: to it they are no images.
    settings = replace(settings, output=str(output), decode_seconds=2, decode_megabytes=256)
    assert featurize(spark, settings).counts == Counts(listed=43, reused=43, new=0, ok=40, rejected=3)
    assert rejections(output) == reasons
    # Where a limit is raised, what was over it is tried again.
    settings = replace(settings, decode_megabytes=None)
    assert featurize(spark, settings).counts == Counts(listed=43, reused=42, new=1, ok=40, rejected=3)
    assert rejections(output) == reasons | {"eat": "not an image"}
    again = featurize(spark, replace(settings, retry_rejected=True))
    assert again.counts == Counts(listed=43, reused=40, new=3, ok=40, rejected=3)
    assert rejections(output) == dict.fromkeys(reasons, "not an image")
    assert len(features(output)) == 43
    assert featurize(spark, settings).counts.reused == 43
    assert rejections(output) == dict.fromkeys(reasons, "not an image")


def rejections(output: Path) -> dict[str, str]:
    frame = features(output)
    frame = frame[frame["status"] == "rejected"]
    return {Path(path).stem: reason for path, reason in zip(frame["path"], frame["reason"], strict=True)}


@pytest.mark.spark
def test_a_session_that_tries_no_task_twice_decodes_in_children_from_the_start(
    tmp_path: Path, tiny_model: Path, hooks: Path
) -> None:
    images = make_images(tmp_path / "images", {"apple": 6})
    (images / "apple" / "crash.jpg").write_bytes(hostile("crash"))
    options = ("--images", "images", "--model", str(tiny_model), "--output", "out", "--master", "local[1]")
    done = job("featurize", *options, cwd=tmp_path, PYTHONPATH=str(hooks))
    assert done.returncode == 0, done.stderr
    frame = features(tmp_path / "out")
    assert list(frame["status"]) == ["ok"] * 6 + ["rejected"]
    assert frame["reason"].iloc[-1] == "decoder crashed"


def features(output: Path) -> pd.DataFrame:
    table = read_features(str(output))
    assert isinstance(table, pa.Table)
    frame: pd.DataFrame = table.to_pandas().sort_values("path", ignore_index=True)
    return frame


def test_requests_and_answers_hold_no_pickles() -> None:
    # The answer of a decoder that was taken over can only be data, never code: JSON and pixels.
    data = encoded(scene(), "PNG")
    with Decoder(OPTIONS, isolated=True) as decoder:
        decoder.decode(data)
        assert decoder._child is not None
        process = decoder._child._process
        assert process.stdin is not None
        assert process.stdout is not None
        sandbox._send(process.stdin, json.dumps(asdict(OPTIONS)).encode(), data)
        head, pixels = sandbox._receive(process.stdout)
    assert json.loads(head) == {"width": 60, "height": 40}
    assert pixels == decode(data, 32).pixels.tobytes()
    assert "pickle" not in Path(sandbox.__file__).read_text()


def test_decoding_in_this_process_leaves_its_alarm_as_it_was() -> None:
    with Decoder(OPTIONS, isolated=False) as decoder:
        decoder.decode(encoded(scene(), "PNG"))
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    left = faulthandler.unregister(signal.SIGALRM)  # type: ignore[func-returns-value]
    assert not left

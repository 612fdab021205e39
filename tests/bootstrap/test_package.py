"""`python -m bootstrap.package`: a second run does nothing, what is altered is made anew, messages are sentences."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bootstrap.archive_check import JOB, ROOT, find_python
from bootstrap.model import ModelSpec, make
from bootstrap.package import MAKERS, build, default_architecture, main, requested_model
from job.errors import JobError

pytestmark = [pytest.mark.network, pytest.mark.tensorflow]

ARCHIVE = "dependencies-x86_64.tgz"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no settings but those of the test."""
    for name in ("ALPHA", "SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEIGHTS", "embedded")


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return of each file what shows that it was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def alter(path: Path, content: bytes) -> None:
    path.unlink()  # its content is shared
    path.write_bytes(content)


def test_second_run_writes_nothing_and_loads_little(dist: Path) -> None:
    before = state(dist)
    assert {ARCHIVE, "job.zip", "entry.py", "model/model.tflite", "model/model.json"} <= set(before)
    program = (
        "import sys\n"
        "from bootstrap.package import main\n"
        f"status = main(['--architecture', 'x86_64', '--output', {str(dist)!r}])\n"
        "slow = {'tensorflow', 'keras', 'pyarrow', 'boto3', 'elftools', 'PIL', 'pyspark', 'ai_edge_litert'}\n"
        "print(status, sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    # Standard output is the template's: nothing of the command's own.
    assert (done.stdout, done.stderr) == ("0 []\n", f"{dist}: up to date\n")
    assert state(dist) == before


def test_altered_and_deleted_products_are_made_anew(
    built: Path, dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another umask, at another time, in another folder: the same bytes."""
    before = state(dist)
    alter(dist / ARCHIVE, b"altered")
    alter(dist / "job.zip", b"altered")
    alter(dist / "model" / "model.tflite", b"altered")
    (dist / "entry.py").unlink()
    (dist / "install_dependencies.sh").unlink()
    umask = os.umask(0o077)
    try:
        assert main(["--architecture", "x86_64", "--output", str(dist)]) == 0
    finally:
        os.umask(umask)
    for name in before:
        if not name.endswith(".json"):
            assert (dist / name).read_bytes() == (built / name).read_bytes(), name
    out, messages = capsys.readouterr()
    assert out == ""
    assert "getting wheels for x86_64" in messages
    for name in ("job.zip", "entry.py", "model", ARCHIVE):
        assert f"{dist / name}: " in messages
    assert {path.name for path in dist.iterdir()} == {path.name for path in built.iterdir()}
    after = state(dist)
    assert main(["--architecture", "x86_64", "--output", str(dist)]) == 0
    assert state(dist) == after


@pytest.mark.parametrize("what", ["deleted", "size", "time", "recipe", "stamp", "nothing"])
def test_archive_is_built_again_for_each_reason_alone(what: str, dist: Path) -> None:
    built = []

    def build_archive(path: Path, architecture: str, package: Path) -> str:
        built.append((path, architecture, package))
        path.unlink(missing_ok=True)
        path.write_bytes(b"new")
        return "well"

    makers = replace(MAKERS, archive=build_archive)
    stamp = dist / f".{ARCHIVE}.json"
    if what == "deleted":
        (dist / ARCHIVE).unlink()
    elif what == "size":
        alter(dist / ARCHIVE, b"altered")
        modified = json.loads(stamp.read_text())["modified"]
        os.utime(dist / ARCHIVE, ns=(modified, modified))
    elif what == "time":
        size = (dist / ARCHIVE).stat().st_size
        alter(dist / ARCHIVE, b"")
        os.truncate(dist / ARCHIVE, size)
    elif what == "recipe":
        makers = replace(makers, recipe=lambda _: "another")
    elif what == "stamp":
        alter(stamp, b"{")
    lines = build(dist, "x86_64", ModelSpec("embedded"), makers=makers)
    assert built == ([] if what == "nothing" else [(dist / ARCHIVE, "x86_64", JOB)])
    assert bool(lines) == bool(built)
    assert build(dist, "x86_64", ModelSpec("embedded"), makers=makers) == []


def test_changed_job_is_tried_with_the_archive_that_is_there(dist: Path, tmp_path: Path) -> None:
    if (why_not := find_python("x86_64")[1]) != "":
        pytest.skip(f"SKIPPED, NOT PROVEN: {why_not}")
    before = state(dist)
    job = Path(shutil.copytree(JOB, tmp_path / "job"))
    text = (job / "progress.py").read_text()
    (job / "progress.py").write_text(text + "\n\ndef late() -> None:\n    import sklearn\n")
    with pytest.raises(JobError, match="No module named 'sklearn'"):
        build(dist, "x86_64", ModelSpec("embedded"), job)
    with pytest.raises(JobError, match="No module named 'sklearn'"):  # it does not count as tried
        build(dist, "x86_64", ModelSpec("embedded"), job)
    (job / "progress.py").write_text(text + "\n\ndef late() -> None:\n    import wave\n    import pyspark.nothing\n")
    lines = build(dist, "x86_64", ModelSpec("embedded"), job)
    assert [line.split(":")[0] for line in lines] == [str(dist / "job.zip"), str(dist / ARCHIVE)]
    assert "the job was tried with it" in lines[1]
    assert state(dist)[ARCHIVE] == before[ARCHIVE]
    assert build(dist, "x86_64", ModelSpec("embedded"), job) == []


def test_killed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    command = [sys.executable, "-m", "bootstrap.package", "--architecture", "x86_64", "--output", str(dist)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        ends = time.monotonic() + 60
        # Once the model is there, the next is the archive.
        while not ((dist / "model").exists() and list(dist.glob(".building-*"))) and time.monotonic() < ends:
            time.sleep(0.05)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    left = {path.name for path in dist.iterdir()}
    assert [name for name in left if name.startswith(".building-")]
    before = {"job.zip", "entry.py", "install_dependencies.sh", "certificates.zip", "model", ".lock"}
    assert left - before == {n for n in left if n.startswith(".building-")}

    def build_archive(*_: object) -> str:
        raise JobError("asked for")

    with pytest.raises(JobError, match="asked for"):
        build(dist, "x86_64", ModelSpec("embedded"), makers=replace(MAKERS, archive=build_archive))
    assert {path.name for path in dist.iterdir()} == before


def test_embedded_model_needs_no_tensorflow(dist: Path) -> None:
    shutil.rmtree(dist / "model")
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from bootstrap.package import main\n"
        f"sys.exit(main(['--architecture', 'x86_64', '--output', {str(dist)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    [line] = done.stderr.splitlines()
    assert "embedded weights; trained on rendered fruit only" in line


def test_weights_out_of_reach_fail_before_the_wheels_and_name_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = pytest.importorskip(
        "bootstrap.network", reason="SKIPPED, NOT PROVEN: TensorFlow is not installed", exc_type=ImportError
    )
    imagenet_file = partial(network.imagenet_file, server="http://127.0.0.1:9/")
    unreachable = SimpleNamespace(**(vars(network) | {"imagenet_file": imagenet_file}))
    makers = replace(MAKERS, model=partial(make, load_network=lambda: unreachable))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("WEIGHTS", "")  # as good as not set: imagenet
    assert main(["--architecture", "x86_64", "--output", str(tmp_path / "dist")], makers) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot fetch ImageNet weights" in line
    assert "Connection refused" in line
    assert line.endswith("; to try everything with the included model: WEIGHTS=embedded")


def test_environment_says_which_model() -> None:
    assert requested_model({}) == requested_model({"WEIGHTS": "", "ALPHA": "", "SIZE": ""}) == ModelSpec("imagenet")
    assert requested_model({"WEIGHTS": "my.h5", "ALPHA": "0.5", "SIZE": "96"}) == ModelSpec("my.h5", 0.5, 96)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"ALPHA": "wide"}, "ALPHA=wide is no number"),
        ({"SIZE": "22.4"}, "SIZE=22.4 is no number of pixels"),
        ({"ALPHA": "1.0"}, "leave out ALPHA and SIZE"),
        ({"WEIGHTS": "imagenet", "ALPHA": "0.4"}, "no ImageNet weights for alpha 0.4"),
        ({"WEIGHTS": "none.h5"}, "cannot read the weights none.h5"),
        ({"WEIGHTS": "none.h5", "SIZE": "5"}, "SIZE 5 is out of range"),
    ],
)
def test_models_that_cannot_be_made_are_refused_in_one_line(
    environment: dict[str, str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["--architecture", "x86_64", "--output", str(tmp_path / "dist")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert "--" not in line
    assert not list(tmp_path.glob("dist/dependencies*"))


def test_output_that_cannot_be_a_folder_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dist").write_text("")
    assert main(["--architecture", "x86_64", "--output", str(tmp_path / "dist")]) == 2
    assert "cannot build" in capsys.readouterr().err


def test_architecture_is_an_option_or_a_lasting_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--architecture", "riscv64"])
    assert "invalid choice: 'riscv64'" in capsys.readouterr().err
    settings = tmp_path / "cdk.json"
    assert default_architecture(settings) == "x86_64"
    for text, expected in (
        ("{}", "x86_64"),
        ('{"context": {}}', "x86_64"),
        ('{"context": {"architecture": "arm64"}}', "arm64"),
    ):
        settings.write_text(text)
        assert default_architecture(settings) == expected
    for text, words in (
        ('{"context": {"architecture": "ARM"}}', "architecture is 'ARM', not one of x86_64, arm64"),
        ("{", "is not the settings of a CDK project"),
        ("[]", "is not the settings of a CDK project"),
    ):
        settings.write_text(text)
        with pytest.raises(JobError, match=words):
            default_architecture(settings)

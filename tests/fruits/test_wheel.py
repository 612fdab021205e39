"""The wheel, as somebody who has no checkout uses it: built, installed in a clean environment, run on ten images."""

import json
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("fruits", "job", "lookup", "submit", "bootstrap", "pyproject.toml", "README.md", "LICENSE")
# Half a gigabyte that pip would build and copy again: the clean environment gets a link to them.
LINKED = ("pyspark", "py4j")

pytestmark = [pytest.mark.spark, pytest.mark.network]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def fruits(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return what runs the command `fruits` of an environment that holds the wheel and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / part, source / part)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    ours = next(Path(path) for path in sys.path if Path(path, "pyspark").is_dir())
    for name in LINKED:
        for path in ours.glob(f"{name}*"):
            (packages / path.name).symlink_to(path)
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    [wheel] = folder.glob("fruits-*.whl")
    pip(python, "install", "--constraint", str(ROOT / "requirements-run.txt"), f"fruits[spark] @ {wheel.as_uri()}")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python.with_name("fruits")), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "connection broken" in done.stderr or "No matching distribution" in done.stderr:
        pytest.skip(f"SKIPPED, NOT PROVEN: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(fruits: Command) -> None:
    done = fruits("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run", "featurize", "reduce", "report", "check", "prune", "classify", "serve", "submit", "model"):
        assert re.search(rf"\n    {command}\s", done.stdout), command


ROOMS = {"run": "job", "classify": "lookup", "submit": "submit", "model": "bootstrap.model"}


@pytest.mark.parametrize("command", ROOMS)
def test_each_command_has_help_and_speaks_of_itself_as_fruits(fruits: Command, command: str) -> None:
    done = fruits(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: fruits {command}")
    assert f"python -m {ROOMS[command]} " not in done.stdout


def test_a_run_on_ten_images_with_the_included_model(fruits: Command, tmp_path: Path) -> None:
    sample, model, output = (str(tmp_path / name) for name in ("sample", "model", "results"))
    assert fruits("sample", "--output", sample).returncode == 0
    assert fruits("model", "--weights", "embedded", "--output", model).returncode == 0
    done = fruits("run", "--images", sample, "--model", model, "--output", output, "--limit", "10", "--components", "3")
    assert done.returncode == 0, done.stderr
    written = json.loads(Path(output, "run.json").read_text())
    assert (written["counts"]["ok"], written["components"]) == (10, 3)
    assert f"fruits {written['versions']['fruits']}\n" == fruits("--version").stdout
    assert Path(output, "report.html").stat().st_size > 1_000_000


def test_an_unknown_command_is_refused(fruits: Command) -> None:
    done = fruits("nonsense")
    assert done.returncode == 2
    assert "invalid choice: 'nonsense'" in done.stderr

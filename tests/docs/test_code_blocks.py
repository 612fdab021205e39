"""Every code block of the documentation runs on one small run; what does not run is listed here, with the reason."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.model import main as make_model
from bootstrap.sample import render_images
from fruits import Settings, featurize, reduce
from tests.docs.blocks import ALL, CODE, NOT_CODE, ROOT, Block

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What does not run: the start of the command line, and why. Of several starts that fit, the longest counts.
NOT_RUN = {
    "WEIGHTS=embedded make deploy": "it needs an AWS account",
    "aws s3 sync": "it needs an AWS account",
    'python -c "import boto3': "it needs an AWS account, and deletes what a bucket holds",
}
# What is compared with the command's own help, which must know each of its options.
COMPARED = {
    "fruits check": "it starts Spark, for seconds",
    "fruits featurize": "it starts Spark, for seconds",
    "fruits prune": "it starts Spark, for seconds",
    "fruits reduce": "it starts Spark, for seconds",
    "fruits report": "it starts Spark, for seconds",
    "fruits run": "it starts Spark, for seconds",
    "fruits submit": "it needs an AWS account",
    "python -m bootstrap.embedded": "it trains, or renders and infers, for minutes",
    "python -m bootstrap.package": "it downloads packages",
    "python -m benchmarks": "it measures for minutes",
    "python -m tests": "it takes minutes",
}
# What make only shows (`make -n`): the target must exist.
SHOWN = {"make": "the targets set up environments, need an account or take minutes"}
# What runs although a shorter start above fits.
RUN = {"fruits submit cost --images": "an estimate needs no account"}

RULES = {**NOT_RUN, **COMPARED, **SHOWN, **RUN}
SHELL = [block for block in ALL if block.language == "sh"]
PYTHON = [block for block in ALL if block.language == "python"]
LABELS = ("Apple Red", "Banana", "Kiwi", "Lemon")


def rule(command: str) -> str:
    """Return the start of a command line that counts, empty where none fits."""
    fit = [start for start in RULES if re.match(rf"{re.escape(start)}(?![\w-])", command)]
    return max(fit, key=len, default="")


def test_every_block_has_a_known_language() -> None:
    assert [block.name for block in ALL if block.language.split(" ")[0] not in (*CODE, *NOT_CODE)] == []


def test_every_rule_is_used() -> None:
    used = {rule(command) for block in SHELL for command in block.commands}
    assert set(RULES) - used == set()


@pytest.fixture(scope="module")
def workspace(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Enter a folder as the documentation has it: a sample, a model, photos, and the results of one run."""
    folder = tmp_path_factory.mktemp("docs")
    for name, data in render_images():
        label, number = name.split("/")
        if label in LABELS and number < "10":
            for path in (folder / "build/sample" / name, *((folder / "photos" / name,) if number > "07" else ())):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    shutil.copy(folder / "photos/Banana/08.jpg", folder / "photo.jpg")
    commands = folder / "bin"
    commands.mkdir()
    for name, words in (("python", ""), ("fruits", "-m fruits")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (commands / name).chmod(0o755)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_model(["--output", "build/model/embedded"])
        settings = Settings(images="build/sample", model="build/model/embedded", output="results")
        featurize(spark, settings)
        reduce(spark, settings)
        yield folder


def run(folder: Path, script: str) -> str:
    """Run lines for the shell in the workspace; return what they print."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@cache
def help_of(folder: Path, words: tuple[str, ...]) -> str:
    """Return the help of the command that these words start: its page of the reference, or what it prints."""
    if words[0] == "fruits":
        return (ROOT / "docs/reference" / f"{words[1]}.md").read_text()
    return run(folder, f"cd {ROOT} && {shlex.join(words)} --help")


def compare(folder: Path, command: str) -> None:
    """Look up each option of a command line in the help of its command."""
    words = shlex.split(command)
    own = 2 if words[0] == "fruits" else 3  # fruits run; python -m module
    verb = [word for word in words[own : own + 1] if word.isalpha()]
    text = help_of(folder, tuple(words[:own] if words[0] == "fruits" else words[:own] + verb))
    if words[:2] == ["fruits", "submit"] and verb:
        text = text.split(f"## {verb[0]}\n")[1].split("\n## ")[0]
    options = [word.split("=")[0] for word in words[own:] if word.startswith("-")]
    assert [option for option in options if not re.search(rf"{option}(?![\w-])", text)] == [], text


@pytest.fixture(scope="module")
def service(workspace: Path) -> Iterator[str]:
    """Yield the host and port of a service that answers from the workspace."""
    command = [sys.executable, "-m", "fruits", "serve", "--output", "results", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"serving http://(\S+?)/", line):
                yield found[1]
                break
        process.terminate()
        process.stderr.read()


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_the_shell_block_runs(block: Block, workspace: Path, request: pytest.FixtureRequest) -> None:
    lines = []
    for command in block.commands:
        start = rule(command)
        if start in COMPARED:
            compare(workspace, command)
        elif start in SHOWN:
            lines.append(f"({command.replace('make ', f'make -n -C {ROOT} ', 1)}) > /dev/null")
        elif start not in NOT_RUN:
            lines.append(command)
    script = "\n".join(lines)
    if "127.0.0.1:8000" in script:
        script = script.replace("127.0.0.1:8000", request.getfixturevalue("service"))
    if script:
        run(workspace, script)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_the_python_block_runs(block: Block, workspace: Path, spark: "SparkSession") -> None:
    names: dict[str, Any] = {"spark": spark}
    exec(compile(block.text, block.name, "exec"), names)
    assert workspace == Path.cwd()

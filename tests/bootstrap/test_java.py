"""A Java that Spark runs on: found, installed, or asked for in one line."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bootstrap import java
from job.spark.java import find_java

JAVA = """#!/bin/sh
echo 'openjdk version "{version}" 2025-04-15' >&2
"""

# Installs, for the versions it knows, by putting a program into the folder it lies in itself.
APT = """#!/bin/sh
echo "$@" >> "$(dirname $0)/asked"
case "$*" in
  *install*openjdk-21*) printf '#!/bin/sh\\necho openjdk version \\"21.0.1\\" >&2\\n' > "$(dirname $0)/java"
    chmod +x "$(dirname $0)/java";;
esac
"""
CACHE = """#!/bin/sh
case "$2" in openjdk-21*) exit 0;; esac
exit 100
"""


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose programs are those of one folder and of the bare system, without a Java."""
    programs = tmp_path / "home" / "bin"
    programs.mkdir(parents=True)
    system = tmp_path / "system"
    system.mkdir()
    for name in ("sh", "dirname", "chmod"):
        (system / name).symlink_to(
            next(Path(folder, name) for folder in os.get_exec_path() if Path(folder, name).exists())
        )
    monkeypatch.setenv("PATH", f"{programs}:{system}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


@pytest.fixture
def find(tmp_path: Path) -> Callable[[], Path | None]:
    """Return what finds a Java on that machine, whatever the machine of the test has."""
    return partial(find_java, (tmp_path / "jvm",))


def test_a_wrong_java_is_passed_over_for_a_right_one(
    path: Path, find: Callable[[], Path | None], tmp_path: Path
) -> None:
    program(path, "java", JAVA.format(version="11.0.2"))
    assert find() is None
    program(tmp_path / "jvm" / "java-21" / "bin", "java", JAVA.format(version="21.0.1"))
    assert find() == tmp_path / "jvm" / "java-21"
    assert java.main([], find) == 0


@pytest.mark.usefixtures("path")
def test_without_apt_one_line_says_how(find: Callable[[], Path | None], capsys: pytest.CaptureFixture[str]) -> None:
    assert java.main([], find) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "needs Java 17 or 21" in line
    assert "apt-get install openjdk-17-jre-headless" in line


def test_who_is_not_root_installs_nothing(path: Path, find: Callable[[], Path | None]) -> None:
    program(path, "apt-get", APT)
    assert java.main([], find, user=lambda: 1000) == 2
    assert not (path / "asked").exists()


def test_root_installs_what_the_distribution_has_and_says_so(
    path: Path, find: Callable[[], Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    program(path, "apt-get", APT)
    program(path, "apt-cache", CACHE)
    assert java.main([], find, user=lambda: 0) == 0
    said = capsys.readouterr().out
    assert "installing one" in said
    assert "Installed openjdk-21-jre-headless." in said
    assert find() == path.parent

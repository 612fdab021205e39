"""A Java that Spark runs on: found, installed, or asked for in one line."""

import os
from pathlib import Path

import pytest

from bootstrap import java
from job.spark import session
from job.spark.session import find_java

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
    folder = tmp_path / "home" / "bin"
    folder.mkdir(parents=True)
    system = tmp_path / "system"
    system.mkdir()
    for name in ("sh", "dirname", "chmod"):
        (system / name).symlink_to(
            next(Path(place, name) for place in os.get_exec_path() if Path(place, name).exists())
        )
    monkeypatch.setenv("PATH", f"{folder}:{system}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(session, "JAVA_ROOTS", (tmp_path / "jvm",))
    return folder


def test_a_wrong_java_is_passed_over_for_a_right_one(path: Path, tmp_path: Path) -> None:
    program(path, "java", JAVA.format(version="11.0.2"))
    assert find_java() is None
    program(tmp_path / "jvm" / "java-21" / "bin", "java", JAVA.format(version="21.0.1"))
    assert find_java() == tmp_path / "jvm" / "java-21"
    assert java.main() == 0


@pytest.mark.usefixtures("path")
def test_without_apt_one_line_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert java.main() == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "needs Java 17 or 21" in line
    assert "apt-get install openjdk-17-jre-headless" in line


def test_who_is_not_root_installs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "apt-get", APT)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert java.main() == 2
    assert not (path / "asked").exists()


def test_root_installs_what_the_distribution_has_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(path, "apt-get", APT)
    program(path, "apt-cache", CACHE)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert java.main() == 0
    said = capsys.readouterr().out
    assert "installing one" in said
    assert "Installed openjdk-21-jre-headless." in said
    assert find_java() == path.parent

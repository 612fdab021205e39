"""Which Java Spark runs on, and where it is found."""

from pathlib import Path

import pytest

from job.spark.java import find_java, java_version


def java(path: Path, words: str, status: int = 0) -> Path:
    """Write a program that says what a `java -version` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ('openjdk version "17.0.9" 2023-10-17\nOpenJDK Runtime Environment', 17),
        ('java version "21" 2023-09-19 LTS', 21),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "17.0.1" 2021-10-19', 17),
        ("The operation couldn’t be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_version_of_a_java_is_its_major_number(tmp_path: Path, words: str, version: int | None) -> None:
    assert java_version(java(tmp_path / "java", words)) == version


def test_what_cannot_be_run_is_no_java(tmp_path: Path) -> None:
    assert java_version(tmp_path / "absent") is None
    (tmp_path / "plain").write_text('version "17"')
    assert java_version(tmp_path / "plain") is None
    (tmp_path / "binary").write_bytes(b"\x7fELF rubbish")
    (tmp_path / "binary").chmod(0o755)
    assert java_version(tmp_path / "binary") is None


def test_java_home_counts_before_the_path_and_wrong_versions_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java(tmp_path / "home" / "bin" / "java", 'version "21"')
    java(tmp_path / "old" / "bin" / "java", 'version "11"')
    java(tmp_path / "path" / "bin" / "java", 'version "17"')
    java(tmp_path / "mac" / "Contents" / "Home" / "bin" / "java", 'version "17"')
    monkeypatch.setenv("PATH", f"{tmp_path}/path/bin:/usr/bin:/bin")
    for home, expected in (("home", "home"), ("old", "path"), ("absent", "path"), ("mac", "mac/Contents/Home")):
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / home))
        assert find_java() == tmp_path / expected
    monkeypatch.delenv("JAVA_HOME")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(tmp_path / "path" / "bin" / "java")
    monkeypatch.setenv("PATH", f"{tmp_path}/links:/usr/bin:/bin")
    assert find_java() == tmp_path / "path"

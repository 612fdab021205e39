"""The bootstrap action as a node of a cluster runs it: a bare environment, an `aws` that copies, no network."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bootstrap.archive_check import find_python
from bootstrap.package import INSTALLER
from tests.bootstrap.test_archive import NAME, pack

ADDRESS = "s3://bucket/code/archive.tgz"
# Stands for the command of EMR's image: what it is asked for lies beside it.
AWS = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
cp "$(dirname "$0")/bucket/${4#s3://}" "$5" || { echo "fatal error: (403) when calling GetObject" >&2; exit 1; }
"""


@dataclass(frozen=True)
class Node:
    """A node: a folder that the system has, and one for what is installed."""

    system: Path
    folder: Path

    def put(self, archive: Path) -> str:
        """Put an archive into the bucket; return its SHA-256."""
        target = self.system / "bucket" / ADDRESS.removeprefix("s3://")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(archive, target)
        return hashlib.sha256(target.read_bytes()).hexdigest()

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the bootstrap action without a network."""
        command = ["unshare", "--net", "--map-root-user"] if NO_NETWORK else []
        environment = {"PATH": f"{self.system}:{os.defpath}", "HOME": "/nowhere", "TMPDIR": str(self.system / "tmp")}
        return subprocess.run(
            [*command, str(INSTALLER), *arguments],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def install(self, sha256: str) -> "subprocess.CompletedProcess[str]":
        return self.run(ADDRESS, sha256, str(self.folder))

    def python(self, program: str) -> str:
        line = [str(self.folder / "bin/python"), "-c", program]
        return subprocess.run(line, capture_output=True, text=True, check=True, env={}).stdout.strip()

    @property
    def asked(self) -> int:
        path = self.system / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0


NO_NETWORK = (
    subprocess.run(["unshare", "--net", "--map-root-user", "true"], capture_output=True, check=False).returncode == 0
    if shutil.which("unshare")
    else False
)


@pytest.fixture(scope="module")
def python() -> str:
    found, why_not = find_python("x86_64")
    return found or pytest.skip(f"SKIPPED, NOT PROVEN: {why_not}")


def make_node(folder: Path, python: str) -> Node:
    system = folder / "system"
    (system / "tmp").mkdir(parents=True)
    (system / "aws").write_text(AWS)
    (system / "aws").chmod(0o755)
    # By a script, as a link to the Python of a virtual environment would be taken for one itself.
    (system / "python3.11").write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    (system / "python3.11").chmod(0o755)
    return Node(system, folder / "opt/fruits")


@pytest.fixture
def node(tmp_path: Path, python: str) -> Node:
    return make_node(tmp_path, python)


@pytest.fixture(scope="module")
def installed(built: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Node, str, float]:
    """Return a node with the real archive installed, its SHA-256, and how many seconds that took."""
    node = make_node(tmp_path_factory.mktemp("node"), python)
    sha256, began = node.put(built / NAME), time.monotonic()
    done = node.install(sha256)
    assert done.returncode == 0, done.stderr
    return node, sha256, time.monotonic() - began


def test_the_archive_is_installed_for_a_python_of_its_own(installed: tuple[Node, str, float]) -> None:
    node, _, seconds = installed
    where = node.python("import numpy, sys; print(numpy.__file__, sys.version_info[:2], sys.prefix)")
    assert where.startswith(str(node.folder))
    assert where.endswith(f"(3, 11) {node.folder}")
    # The bound is 60 s for 150 MB.
    size = (node.system / "bucket" / ADDRESS.removeprefix("s3://")).stat().st_size
    assert seconds < 60 * size / 150e6
    # YARN's containers run as somebody else.
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in node.folder.rglob("*.so"))


def test_the_real_job_runs_with_it(installed: tuple[Node, str, float], built: Path) -> None:
    from bootstrap.archive_check import MODEL, SMOKE_TEST  # noqa: PLC0415

    line = [str(installed[0].folder / "bin/python"), "-W", "ignore", str(SMOKE_TEST)]
    done = subprocess.run(
        [*line, "/nowhere", str(built / "job.zip"), str(MODEL)], capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode == 0, done.stderr


def test_a_second_run_changes_nothing_and_fetches_nothing(installed: tuple[Node, str, float]) -> None:
    node, sha256, _ = installed
    before = {path: path.stat().st_mtime_ns for path in node.folder.rglob("*")}
    asked = node.asked
    done = node.install(sha256)
    assert (done.returncode, node.asked) == (0, asked)
    assert "holds this archive already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in node.folder.rglob("*")} == before


@pytest.mark.skipif(not NO_NETWORK, reason="SKIPPED, NOT PROVEN: this machine lets nobody take the network away")
def test_there_was_no_network() -> None:
    line = ["unshare", "--net", "--map-root-user", "cat", "/proc/net/dev"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert re.findall(r"^ *(\w+):", done.stdout, re.MULTILINE) in (["lo"], [])


def test_an_archive_that_is_another_is_refused_before_it_is_unpacked(node: Node, tmp_path: Path) -> None:
    found = node.put(pack(tmp_path / "a.tgz", {"numpy/__init__.py": b"evil"}))
    wanted = "0" * 64
    done = node.install(wanted)
    assert done.returncode == 1
    assert f"error: {ADDRESS} is not the archive that was deployed: its SHA-256 is {found}, not {wanted}" in done.stderr
    assert not node.folder.exists()
    assert list((node.system / "tmp").iterdir()) == []


def test_an_archive_out_of_reach_fails_with_the_missing_permission(node: Node) -> None:
    done = node.install("0" * 64)
    assert done.returncode == 1
    assert "(403) when calling GetObject" in done.stderr
    assert f"error: cannot get {ADDRESS}: the role of the nodes needs s3:GetObject on it" in done.stderr
    assert not node.folder.exists()


def test_an_archive_that_does_not_work_is_not_taken_for_installed(node: Node, tmp_path: Path) -> None:
    sha256 = node.put(pack(tmp_path / "a.tgz", {"numpy/__init__.py": b"raise ImportError('libfoo.so.1')"}))
    for _ in range(2):  # nor the second time
        done = node.install(sha256)
        assert done.returncode == 1
        assert f"error: what {ADDRESS} holds does not work with" in done.stderr


def test_another_archive_takes_the_place_of_what_was_there(node: Node, tmp_path: Path) -> None:
    names = ("ai_edge_litert/interpreter.py", "boto3.py", "obstore.py", "pandas.py", "PIL/Image.py", "pyarrow.py")
    working = dict.fromkeys(names, b"")
    first = node.put(pack(tmp_path / "1.tgz", working | {"numpy.py": b"", "old.py": b""}))
    assert node.install(first).returncode == 0
    second = node.put(pack(tmp_path / "2.tgz", working | {"numpy.py": b"", "new.py": b""}))
    assert node.install(second).returncode == 0
    assert node.python("import new; print('there')") == "there"
    with pytest.raises(subprocess.CalledProcessError):
        node.python("import old")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: usage: install_dependencies.sh ARCHIVE_ADDRESS SHA256 FOLDER; there were 0 arguments"),
        ((ADDRESS, "sha256", "/x"), "error: sha256 is no SHA-256 in hexadecimal digits"),
    ],
)
def test_wrong_arguments_are_refused(node: Node, arguments: tuple[str, ...], said: str) -> None:
    done = node.run(*arguments)
    assert (done.returncode, done.stderr) == (1, f"install_dependencies: {said}\n")


def test_a_node_without_the_right_python_is_refused(node: Node) -> None:
    for name in ("bash", "cat", "dirname", "env"):
        (node.system / name).symlink_to(str(shutil.which(name)))
    (node.system / "python3.11").unlink()
    done = subprocess.run(
        ["/bin/bash", str(INSTALLER), ADDRESS, "0" * 64, str(node.folder)],
        env={"PATH": str(node.system)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "error: there is no python3.11 on this node: use a release of EMR that has it" in done.stderr

"""The dependency archive: pinned wheels in, one .tar.gz out, which is checked before it counts.

The archive is made without Docker and without the machine it is for: pip fetches the wheels that bootstrap/wheels/ pins
for Amazon Linux 2023 and Python 3.11. The same wheels give the same bytes, as CDK uploads whatever has changed.
"""

import gzip
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from bootstrap.archive_check import JOB, MACHINES, PYTHON, check_archive
from bootstrap.smoke_test import SERVICES
from job.errors import JobError

WHEELS = Path(__file__).parent / "wheels"

# Files that a run never needs. Licences stay. RECORD and its like describe the installation, which differs by machine.
_UNUSED_FOLDERS = {"__pycache__", "include", "test", "tests"}
_UNUSED_SUFFIXES = {
    ".a",
    ".c",
    ".cc",
    ".cmake",
    ".f",
    ".f90",
    ".h",
    ".hpp",
    ".pxd",
    ".pxi",
    ".pyc",
    ".pyf",
    ".pyi",
    ".pyx",
}
_UNUSED = (
    "bin/*",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools/*",
    "ai_edge_litert/vendors/*",
    "pyarrow/_flight.*",
    "pyarrow/libarrow_flight.*",
    "pyarrow/libarrow_python*.so",  # what loads the library asks for libarrow_python*.so.NUMBER
    "pyarrow/lib*.so.*.*.*",
)
_LEVEL = 5  # gzip's: 9 makes it 2 % smaller and takes 20 s more
_INSTALLATION = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def recipe(architecture: str) -> str:
    """Return a SHA-256 over all that determines an archive: the pinned wheels, this module and what it imports."""
    digest = hashlib.sha256((WHEELS / f"{architecture}.txt").read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(repr((PYTHON, MACHINES[architecture], SERVICES)).encode())
    return digest.hexdigest()


def build_archive(path: Path, architecture: str, package: Path = JOB, wheels: Path = WHEELS) -> str:
    """Make a dependency archive, which appears whole and checked or not at all.

    Parameters
    ----------
    path : Path
        The file to write; its folder exists.
    architecture : str
        `x86_64` or `arm64`.
    package : Path
        The package that is to run with it.
    wheels : Path
        Folder of the pins, `ARCHITECTURE.txt`.

    Returns
    -------
    str
        What became of the trial, as for `check_archive`.

    Raises
    ------
    JobError
        Where a pin has no wheel, the index cannot be reached, or the archive does not pass `check_archive`.
    """
    with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as work:
        _install(Path(work, "wheels"), architecture, wheels / f"{architecture}.txt")
        part = Path(work, path.name)
        _pack(Path(work, "wheels"), part)
        trial = check_archive(part, architecture, package)
        part.replace(path)
    return trial


def _install(folder: Path, architecture: str, pins: Path) -> None:
    machine = MACHINES[architecture]
    # pip takes each name literally: a system of glibc 2.34 runs wheels for any older glibc, but each has to be named.
    platforms = [f"manylinux2014_{machine}", *(f"manylinux_2_{minor}_{machine}" for minor in range(17, 35))]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
    command += ["--only-binary=:all:", "--no-deps", "--require-hashes", f"--requirement={pins}", f"--target={folder}"]
    command += ["--implementation=cp", f"--python-version={'.'.join(map(str, PYTHON))}"]
    command += [f"--platform={name}" for name in platforms]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise JobError(f"pip cannot get the wheels that {pins.name} in {pins.parent} names: {_reason(done.stdout)}")


def _reason(output: str) -> str:
    """Return why pip failed: the last error that it prints, and the fault of the network behind it if there is one."""
    lines = output.strip().splitlines() or ["no reason given"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    fault = re.search(r"connection broken by '(.+)'|Could not fetch URL \S+ (.+) - skipping", output)
    return (errors or lines)[-1] + (f" ({fault[1] or fault[2]})" if fault else "")


def used(name: str) -> bool:
    """Return whether the job needs a file of an installed wheel, named from the top."""
    path = PurePosixPath(name)
    top = path.parts[0]
    if top.endswith(".dist-info"):
        return path.name not in _INSTALLATION
    # The descriptions of 400 services take a quarter of the archive.
    if path.parts[:2] == ("botocore", "data") and len(path.parts) > 3:
        return path.parts[2] in SERVICES
    if path.suffix in _UNUSED_SUFFIXES or _UNUSED_FOLDERS & set(path.parts[:-1]):
        return False
    return not any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) for pattern in _UNUSED)


def _pack(folder: Path, archive: Path) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in filter(used, names):
            member = tarfile.TarInfo(name)  # of nobody, of 1970
            member.mode = 0o644
            member.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as content:
                tar.addfile(member, content)

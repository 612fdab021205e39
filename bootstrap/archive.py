"""What Spark on EMR is given: the job as a zip, and the archive of what it imports, which is checked before it counts.

The archive is made without Docker and without the machine it is for: pip takes the wheels that bootstrap/wheels/ pins
for Amazon Linux 2023 and Python 3.11. The tag of a wheel says which glibc it runs on, but not always the truth, and
nothing of libstdc++; so what the programs in it say that they need is read off them. The same wheels give the same
bytes, as CDK uploads anew what has changed.
"""

import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bootstrap.smoke_test import SERVICES
from job.errors import JobError
from job.spark.session import zip_package

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[1]
JOB = ROOT / "job"
WHEELS = Path(__file__).parent / "wheels"
MODEL = Path(__file__).parent / "embedded"  # to try an inference with
SMOKE_TEST = Path(__file__).parent / "smoke_test.py"

PYTHON = (3, 11)  # of EMR
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # an architecture's name in wheels and in `uname -m`
ELF_MACHINES = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
MAX_BYTES = 150_000_000  # each worker fetches and unpacks it before its first task
# Amazon Linux 2023: its glibc, and the libstdc++ of GCC 11.
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)}

# What a run never needs. Licences stay. RECORD and its like tell of the installation, which is not the same everywhere.
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
    """Return a SHA-256 over all that determines an archive: the pinned wheels and this module."""
    digest = hashlib.sha256((WHEELS / f"{architecture}.txt").read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def build_archive(path: Path, architecture: str, package: Path = JOB) -> str:
    """Make a dependency archive, which appears whole and checked or not at all.

    Parameters
    ----------
    path : Path
        Where to; its folder is there.
    architecture : str
        `x86_64` or `arm64`.
    package : Path
        The package that is to run with it.

    Returns
    -------
    str
        What became of trying it, as for `check_archive`.

    Raises
    ------
    JobError
        Where a pin has no wheel, the index can't be reached, or the archive does not pass `check_archive`.
    """
    with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as work:
        _install(Path(work, "wheels"), architecture)
        part = Path(work, path.name)
        _pack(Path(work, "wheels"), part)
        told = check_archive(part, architecture, package)
        part.replace(path)
    return told


def check_archive(path: Path, architecture: str, package: Path = JOB) -> str:
    """Make sure that the job runs on EMR with a dependency archive, as far as can be told from here.

    Parameters
    ----------
    path : Path
        The archive.
    architecture : str
        `x86_64` or `arm64`: what it is for.
    package : Path
        The package that is to run with it.

    Returns
    -------
    str
        Half a sentence for people: that the job was tried with it, or why not.

    Raises
    ------
    JobError
        For an archive that is too large or damaged, that holds a program for another machine or for a newer system
        than EMR's, or with which the job fails, where this machine can try.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise JobError(
            f"{path.name} has {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f} MB: too much for each worker"
        )
    with tempfile.TemporaryDirectory(prefix=".checking-", dir=path.parent) as work:
        folder = Path(work, "deps")
        try:
            _unpack(path, folder)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise JobError(f"{path.name} cannot be unpacked: {error}") from None
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                _check_program(file, f"{path.name}: {file.relative_to(folder)}", architecture)
        python, why_not = find_python(architecture)
        if python is None:
            return f"the job was not tried with it: {why_not}"
        zipped = Path(work, "job.zip")
        zipped.write_bytes(zip_package(package))
        _try_job(python, folder, zipped, path.name)
    return "the job was tried with it: imports, clients of S3, an inference"


def find_python(architecture: str) -> tuple[str | None, str]:
    """Return the Python 3.11 of this machine that can try an archive; else None and why there is none."""
    machine = MACHINES[architecture]
    if (platform.system(), platform.machine(), platform.libc_ver()[0]) != ("Linux", machine, "glibc"):
        return None, f"it is for Linux on {machine} with glibc, this is {platform.platform()}"
    version = ".".join(map(str, PYTHON))
    for program in (sys.executable, shutil.which(f"python{version}")):
        # Asked, as the name may be that of a version manager's stand-in.
        question = f"import sys; sys.exit(sys.version_info[:2] != {PYTHON})"
        if program and subprocess.run([program, "-c", question], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return program, ""
    return None, f"it is for Python {version}, this is {platform.python_version()} and there is no python{version}"


def _install(folder: Path, architecture: str) -> None:
    machine, pins = MACHINES[architecture], WHEELS / f"{architecture}.txt"
    # pip takes each name literally: a system of glibc 2.34 runs what any older one does, but that has to be spelt out.
    platforms = [f"manylinux2014_{machine}", *(f"manylinux_2_{minor}_{machine}" for minor in range(17, 35))]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
    command += ["--only-binary=:all:", "--no-deps", "--require-hashes", f"--requirement={pins}", f"--target={folder}"]
    command += ["--implementation=cp", f"--python-version={'.'.join(map(str, PYTHON))}"]
    command += [f"--platform={name}" for name in platforms]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise JobError(f"pip cannot get the wheels that {pins.name} in {WHEELS} names: {_reason(done.stdout)}")


def _reason(said: str) -> str:
    """Return why pip failed, in its own words: its last error, and the fault of the network that it may have had."""
    lines = said.strip().splitlines() or ["no reason given"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    fault = re.search(r"connection broken by '(.+)'|Could not fetch URL \S+ (.+) - skipping", said)
    return (errors or lines)[-1] + (f" ({fault[1] or fault[2]})" if fault else "")


def used(name: str) -> bool:
    """Tell whether a file of an installed wheel, named from the top, is of use when the job runs."""
    path = PurePosixPath(name)
    top = path.parts[0]
    if top.endswith(".dist-info"):
        return path.name not in _INSTALLATION
    # The descriptions of 400 services take a quarter of the archive.
    if path.parts[:2] == ("botocore", "data") and len(path.parts) > 3:
        return path.parts[2] in SERVICES
    if path.suffix in _UNUSED_SUFFIXES or _UNUSED_FOLDERS & set(path.parts[:-1]):
        return False
    return not any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), name) for each in _UNUSED)


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


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            target = folder / member.name
            content = tar.extractfile(member) if member.isfile() else None
            if content is None or not target.resolve().is_relative_to(folder.resolve()):
                raise JobError(f"{archive.name}: {member.name} is not a plain file inside it")
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)


def _check_program(file: Path, name: str, architecture: str) -> None:
    """Refuse a program or library that EMR's machine or system cannot load."""
    with file.open("rb") as content:
        if content.read(4) != b"\x7fELF":
            return
        from elftools.common.exceptions import ELFError  # noqa: PLC0415 - to build only
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415

        try:
            elf = ELFFile(content)
            machine, needs = elf["e_machine"], _needs(elf)
        except ELFError as error:
            raise JobError(f"{name} is damaged: {error}") from None
    if machine != ELF_MACHINES[architecture]:
        raise JobError(f"{name} is for {machine}, not for {ELF_MACHINES[architecture]}")
    for need in needs:
        family, _, version = need.partition("_")
        if family not in NEWEST:
            continue
        number = re.fullmatch(r"\d+(\.\d+)*", version)
        # What has no number is glibc's own business (GLIBC_PRIVATE) or newer than numbers say (GLIBC_ABI_DT_RELR).
        if tuple(map(int, version.split("."))) > NEWEST[family] if number else family == "GLIBC":
            newest = f"{family}_{'.'.join(map(str, NEWEST[family]))}"
            raise JobError(f"{name} needs {need}, EMR's system has at most {newest}")


def _needs(elf: "ELFFile") -> list[str]:
    from elftools.elf.gnuversions import GNUVerNeedSection  # noqa: PLC0415 - to build only

    sections = [section for section in elf.iter_sections() if isinstance(section, GNUVerNeedSection)]
    return [need.name for section in sections for _, needs in section.iter_versions() for need in needs]


def _try_job(python: str, dependencies: Path, package: Path, name: str) -> None:
    """Run `bootstrap.smoke_test` in a Python that knows nothing of this machine's packages, variables and accounts."""
    settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "OMP_NUM_THREADS": "1"}
    others = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    command = [python, "-I", "-S", "-W", "ignore", str(SMOKE_TEST), str(dependencies), str(package), str(MODEL)]
    done = subprocess.run(command, env=others | settings, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise JobError(f"{name}: the job fails with it under Python {'.'.join(map(str, PYTHON))}: {last}")

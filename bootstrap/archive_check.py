"""Whether a dependency archive works on EMR: an archive in, a sentence or a `JobError` out.

The tag of a wheel says which glibc it runs on, but it is not always true, and it says nothing of libstdc++. So the
requirements of the programs in the archive are read from the programs. Where this machine has the right Python, the job
is tried with the archive.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from job.errors import JobError
from job.spark.shipping import zip_package

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[1]
JOB = ROOT / "job"
MODEL = Path(__file__).parent / "embedded"  # to try an inference with
SMOKE_TEST = Path(__file__).parent / "smoke_test.py"

PYTHON = (3, 11)  # of EMR
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # an architecture's name in wheels and in `uname -m`
ELF_MACHINES = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
MAX_BYTES = 150_000_000  # each worker fetches and unpacks it before its first task
# Amazon Linux 2023: its glibc, and the libstdc++ of GCC 11.
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)}


@dataclass(frozen=True)
class Host:
    """The machine that tries an archive.

    Attributes
    ----------
    system, machine, libc : str
        As `platform` names them: `Linux`, `x86_64`, `glibc`.
    executable : str
        The Python that runs this.
    """

    system: str
    machine: str
    libc: str
    executable: str

    @classmethod
    def this(cls) -> "Host":
        """Return the machine that this process runs on."""
        return cls(platform.system(), platform.machine(), platform.libc_ver()[0], sys.executable)


def check_archive(path: Path, architecture: str, package: Path = JOB, host: Host | None = None) -> str:
    """Check that the job runs on EMR with a dependency archive, as far as this machine can show.

    Parameters
    ----------
    path : Path
        The archive.
    architecture : str
        `x86_64` or `arm64`: what it is for.
    package : Path
        The package that is to run with it.
    host : Host or None
        The machine that tries it; None for this one.

    Returns
    -------
    str
        Half a sentence for people: the job was tried with it, or why it was not.

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
            unpack(path, folder)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise JobError(f"{path.name} cannot be unpacked: {error}") from None
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                _check_program(file, f"{path.name}: {file.relative_to(folder)}", architecture)
        python, why_not = find_python(architecture, host)
        if python is None:
            return f"the job was not tried with it: {why_not}"
        zipped = Path(work, "job.zip")
        zipped.write_bytes(zip_package(package))
        _try_job(python, folder, zipped, path.name)
    return "the job was tried with it: imports, clients of S3, an inference"


def find_python(architecture: str, host: Host | None = None) -> tuple[str | None, str]:
    """Return the Python 3.11 of a machine that can try an archive; else None and why there is none."""
    host = host or Host.this()
    machine = MACHINES[architecture]
    if (host.system, host.machine, host.libc) != ("Linux", machine, "glibc"):
        return None, f"it is for Linux on {machine} with glibc, this is {platform.platform()}"
    version = ".".join(map(str, PYTHON))
    for program in (host.executable, shutil.which(f"python{version}")):
        # The program is run, as the name may be that of a version manager's stand-in.
        probe = f"import sys; sys.exit(sys.version_info[:2] != {PYTHON})"
        if program and subprocess.run([program, "-c", probe], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return program, ""
    return None, f"it is for Python {version}, this is {platform.python_version()} and there is no python{version}"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive of plain files into a folder; refuse anything else."""
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
    """Run `bootstrap.smoke_test` in a Python without the packages, AWS settings and accounts of this machine."""
    settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "OMP_NUM_THREADS": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    command = [python, "-I", "-S", "-W", "ignore", str(SMOKE_TEST), str(dependencies), str(package), str(MODEL)]
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise JobError(f"{name}: the job fails with it under Python {'.'.join(map(str, PYTHON))}: {last}")

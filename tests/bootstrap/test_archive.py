"""The dependency archive: real wheels, packed; the job runs from it in a bare Python; each refusal is a sentence."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pyspark
import pytest

from bootstrap.archive import WHEELS, build_archive
from bootstrap.archive_check import JOB, ROOT, Host, check_archive, find_python
from bootstrap.smoke_test import SERVICES
from job.errors import JobError
from job.spark.java import find_java
from job.spark.shipping import zip_package
from tests.conftest import make_images

NO_SUCH = f"--hash=sha256:{hashlib.sha256().hexdigest()}"
NAME = "dependencies-x86_64.tgz"


@pytest.fixture(scope="session")
def python() -> str:
    """Return a Python 3.11 that can run the archive for x86_64."""
    found, why_not = find_python("x86_64")
    return found or pytest.skip(f"SKIPPED, NOT PROVEN: {why_not}")


@pytest.fixture(scope="session")
def elf(dependencies: Path) -> bytes:
    """Return a real library of a wheel: a small one, of C++."""
    return next(dependencies.glob("numpy/fft/_pocketfft_umath*")).read_bytes()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_archive_is_small_and_the_same_on_every_machine(built: Path) -> None:
    with tarfile.open(built / NAME) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isfile()) for m in members} == {
        (0, 0, 0, "", "", 0o644, True)
    }
    # gzip's own header: no date, no name.
    assert (built / NAME).read_bytes()[3:8] == bytes(5)
    assert (built / NAME).stat().st_size < 100_000_000
    assert {"boto3", "numpy", "pandas", "pyarrow", "ai_edge_litert", "PIL"} <= {name.split("/")[0] for name in names}
    assert not [name for name in names if re.search(r"/tests/|\.h$|\.pyi$|__pycache__|/RECORD$|^bin/", name)]
    distributions = {name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA")}
    pinned = re.findall(r"^([\w.-]+)==([\w.]+)", (WHEELS / "x86_64.txt").read_text(), re.MULTILINE)
    assert distributions == {f"{name.replace('-', '_')}-{version}.dist-info" for name, version in pinned}


def test_a_whole_run_works_from_the_two_archives_and_spark_alone(
    built: Path, dependencies: Path, python: str, tmp_path: Path
) -> None:
    """As on EMR: what Spark's workers import themselves (pandas) shows only here."""
    java = find_java()
    assert java
    (tmp_path / "spark").mkdir()
    packages = Path(pyspark.__file__).parents[1]
    for name in ("pyspark", "py4j"):
        (tmp_path / "spark" / name).symlink_to(packages / name)
    make_images(tmp_path / "images", {"apple": 3, "pear": 3})
    # -S leaves out this interpreter's own packages; a wrapper does the same for the workers.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{python}" -S "$@"\n')
    bare.chmod(0o755)
    starter = (
        "import runpy, sys\n"
        f"sys.executable = {str(bare)!r}\n"
        "sys.argv[1:] = ['run', '--images', 'images', '--model', sys.argv[1], '--output', 'out', '--components', '3']\n"
        f"runpy.run_path({str(built / 'entry.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [bare, "-c", starter, str(built / "model")],
        cwd=tmp_path,
        env={
            "PATH": os.defpath,
            "HOME": str(tmp_path),
            "JAVA_HOME": str(java),
            "PYTHONPATH": f"{dependencies}:{built}/job.zip:{tmp_path}/spark",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "6 ok, 0 rejected" in done.stdout + done.stderr


def test_botocore_asks_no_service_for_credentials_whose_description_was_left_out(dependencies: Path) -> None:
    sources = [path for name in ("botocore", "boto3", "s3transfer") for path in (dependencies / name).glob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    kept = {folder.name for folder in (dependencies / "botocore/data").iterdir() if folder.is_dir()}
    asked = set(re.findall(r"(?:client_creator\(|create_client\(|nested_client\([\w.]+,)\s*['\"]([\w-]+)['\"]", text))
    assert {"s3", "sts", "sso", "sso-oidc", "signin"} <= asked
    assert asked <= set(SERVICES)
    assert kept == set(SERVICES)


@pytest.mark.parametrize(
    ("what", "old", "new", "words"),
    [
        ("machine", b"\x3e\x00\x01\x00\x00\x00", b"\xb7\x00\x01\x00\x00\x00", "is for EM_AARCH64, not for EM_X86_64"),
        ("glibc", b"GLIBC_2.14\0", b"GLIBC_2.99\0", "needs GLIBC_2.99, EMR's system has at most GLIBC_2.34"),
        ("compared as numbers", b"GLIBC_2.2.5\0", b"GLIBC_2.100\0", "needs GLIBC_2.100"),
        ("without a number", b"GLIBC_2.2.5\0", b"GLIBC_ABI_X\0", "needs GLIBC_ABI_X"),
        ("libstdc++", b"GLIBCXX_3.4.21\0", b"GLIBCXX_3.4.30\0", "needs GLIBCXX_3.4.30, EMR's system has at most"),
        ("C++ ABI", b"CXXABI_1.3.9\0", b"CXXABI_1.4.0\0", "needs CXXABI_1.4.0"),
    ],
)
def test_program_that_emr_cannot_load_is_refused(
    what: str, old: bytes, new: bytes, words: str, elf: bytes, tmp_path: Path
) -> None:
    assert old in elf, what
    path = pack(tmp_path / NAME, {"some/lib.so.1": elf.replace(old, new)})
    with pytest.raises(JobError, match=re.escape(f"{NAME}: some/lib.so.1 {words}")):
        check_archive(path, "x86_64")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"GLIBC_2.14\0", b"GLIBC_2.34\0"), (b"GLIBC_2.2.5\0", b"GLIBC_2.4.0\0"), (b"GLIBCXX_3.4.21", b"GLIBCXX_3.4.29")],
)
def test_program_just_within_the_bounds_passes(old: bytes, new: bytes, elf: bytes, tmp_path: Path) -> None:
    elsewhere = replace(Host.this(), machine="riscv64")  # so that nothing is tried
    path = pack(tmp_path / NAME, {"lib.so": elf.replace(old, new)})
    outcome = check_archive(path, "x86_64", host=elsewhere)
    assert outcome.startswith("the job was not tried with it: it is for Linux on x86_64")


def test_damaged_and_foreign_archives_are_refused(elf: bytes, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"lib\.so is damaged"):
        check_archive(pack(tmp_path / NAME, {"lib.so": elf[:100]}), "x86_64")
    with pytest.raises(JobError, match=r"lib\.so is for EM_X86_64, not for EM_AARCH64"):
        check_archive(pack(tmp_path / NAME, {"lib.so": elf}), "arm64")
    with pytest.raises(JobError, match="is not a plain file inside it"):
        check_archive(pack(tmp_path / NAME, {"../outside.py": b""}), "x86_64")
    assert not (tmp_path / "outside.py").exists()
    whole = pack(tmp_path / NAME, {"lib.so": elf}).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match="cannot be unpacked"):
        check_archive(tmp_path / NAME, "x86_64")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.touch()
    os.truncate(path, 150_000_001)  # takes no room
    with pytest.raises(JobError, match="has 150 MB, more than 150 MB"):
        check_archive(path, "x86_64")
    os.truncate(path, 150_000_000)
    with pytest.raises(JobError, match="cannot be unpacked"):
        check_archive(path, "x86_64")


@pytest.mark.usefixtures("python")
def test_archive_without_a_dependency_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / NAME, {"threadpoolctl.py": b"threadpool_limits = None"})
    with pytest.raises(
        JobError, match=r"the job fails with it under Python 3\.11: ModuleNotFoundError: No module named"
    ):
        check_archive(path, "x86_64")


def test_where_no_python_can_try_it_one_line_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_python("x86_64")[0] is None:
        pytest.skip("SKIPPED, NOT PROVEN: needs Linux on x86_64 with Python 3.11")
    (tmp_path / "python3.11").write_text("#!/bin/sh\necho 'version manager: no such version' >&2\nexit 127\n")
    (tmp_path / "python3.11").chmod(0o755)
    host = replace(Host.this(), executable=str(tmp_path / "python3.11"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found, why_not = find_python("x86_64", host)
    assert found is None
    assert "there is no python3.11" in why_not
    path = pack(tmp_path / NAME, {"nothing.txt": b""})
    outcome = check_archive(path, "x86_64", host=host)
    assert outcome.startswith("the job was not tried with it: it is for Python 3.11")


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        (f"pyspark==4.1.1 {NO_SUCH}", r"No matching distribution found for pyspark==4\.1\.1"),  # there as source only
        (f"numpy==2.4.987 {NO_SUCH}", r"No matching distribution found for numpy==2\.4\.987"),
        (f"threadpoolctl==3.6.0 {NO_SUCH}", "DO NOT MATCH THE HASHES"),
        ("threadpoolctl==3.6.0", "Hashes are required"),
    ],
)
@pytest.mark.usefixtures("built")  # so that the index is there
def test_pin_without_a_wheel_fails_with_pips_reason(pin: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x86_64.txt").write_text(pin + "\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(JobError, match=rf"pip cannot get the wheels that x86_64\.txt in .* names: .*{words}") as raised:
        build_archive(tmp_path / "out" / NAME, "x86_64", wheels=tmp_path)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_index_out_of_reach_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(JobError, match=r"No matching distribution found for ai-edge-litert.*Connection refused"):
        build_archive(tmp_path / NAME, "x86_64")


def test_zip_of_the_job_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        copy = Path(shutil.copytree(JOB, tmp_path / "job", copy_function=shutil.copyfile))
        (copy / "__pycache__").mkdir(exist_ok=True)
        (copy / "__pycache__" / "listing.cpython-311.pyc").write_bytes(b"stale")
        (copy / ".listing.py.swp").write_bytes(b"an editor's")
    finally:
        os.umask(before)
    content = zip_package(copy)
    assert content == zip_package(JOB)
    (tmp_path / "job.zip").write_bytes(content)
    program = (
        "import job.settings, job.spark.shipping as s, importlib.resources as r; print(s.__file__, r.files('job'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "job",
        env={"PYTHONPATH": str(tmp_path / "job.zip")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path / "job.zip"))
    (copy / "listing.py").write_text("changed = True\n")
    assert zip_package(copy) != content


def pins_of(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", path.read_text(), re.MULTILINE))


def test_locks_pin_what_the_requirements_name() -> None:
    wanted = pins_of(ROOT / "requirements-job.txt")
    wanted["pandas"] = (wanted | pins_of(ROOT / "requirements-run.txt"))["pandas"]  # PySpark's own need
    x86_64, arm64 = pins_of(WHEELS / "x86_64.txt"), pins_of(WHEELS / "arm64.txt")
    assert {name: x86_64.get(name) for name in wanted} == wanted
    # Later ones for aarch64 need GLIBCXX_3.4.30; it does without ml-dtypes.
    assert arm64 == {k: v for k, v in x86_64.items() if k != "ml-dtypes"} | {"ai-edge-litert": "2.1.0"}


def test_locks_hold_hashes_and_nothing_of_the_machine_that_made_them() -> None:
    for path in WHEELS.iterdir():
        lines = path.read_text().splitlines()
        assert lines[0].startswith("#")
        assert "make lock" in lines[1]
        for line in lines[2:]:
            assert re.fullmatch(r"[\w.-]+==[\w.]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), f"{path}: {line}"

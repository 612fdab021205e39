"""The house: which room may import which, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> rooms or modules of ours that it may import. `job` imports nothing of ours; tests and benchmarks import any.
MAY = {
    "app": {"infra"},
    "infra": {"submit.request"},
    "submit": {"job.settings", "job.errors"},
    "bootstrap": {"job"},
    "lookup": {"job"},
    "job": set(),
}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrow"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(room: str) -> list[Path]:
    alone = ROOT / f"{room}.py"
    return [alone] if alone.exists() else sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", MAY)
def test_arrows_point_one_way(room: str) -> None:
    for path in files(room):
        for name in imports(path):
            first = name.split(".")[0]
            if first in MAY and first != room:
                allowed = [other for other in MAY[room] if f"{name}.".startswith(f"{other}.")]
                assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_no_room_is_forgotten() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rooms = {line.split("/")[0].removesuffix(".py") for line in tracked.splitlines()}
    assert rooms <= set(MAY) | {"tests", "benchmarks"}


def test_modules_are_small_and_say_what_they_are() -> None:
    for room in MAY:
        for path in files(room):
            text = path.read_text()
            assert len(text.splitlines()) < 400, f"{path.relative_to(ROOT)} is too long"
            assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)} says nothing of itself"


def test_what_others_import_loads_neither_spark_nor_tensorflow() -> None:
    program = (
        "import sys, job.settings, job.errors, job.storage, job.s3, job.store, job.image, job.model, job.pca\n"
        "import job.results\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pyspark', 'tensorflow', 'boto3', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_storage_knows_s3() -> None:
    for path in files("job"):
        if path.name not in {"storage.py", "s3.py"}:
            assert not {name.split(".")[0] for name in imports(path)} & {"boto3", "botocore", "obstore"}

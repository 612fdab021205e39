"""The house: which room may import which, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> rooms or modules of ours that it may import. `job` imports nothing of ours; tests and benchmarks import any.
MAY = {
    "fruits": {"job", "lookup", "submit", "bootstrap"},
    "app": {"infra"},
    "infra": {"submit.request", "job.options", "job.errors"},
    "submit": {"job.settings", "job.errors", "job.options", "job.command_line", "job.progress", "job.storage"},
    "bootstrap": {"job"},
    "lookup": {"job"},
    "job": set(),
}


# The rooms of `job` from the top down: each may import those after it, and all may import the ground below them.
ROOMS = ("__main__", "stages", "results", "pca", "curation", "features", "images", "spark", "storage")
GROUND = {"compat", "settings", "options", "errors", "progress", "command_line"}
# Rooms that stand side by side: neither may import the other.
BESIDE = {("pca", "curation"), ("curation", "pca")}
STAGE_LINES = 250
# Public functions and classes of a file at most, but for those that are a list of functions of one kind.
FILE_NAMES = 12
LISTS = {"infra/permissions.py"}


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
    assert rooms <= set(MAY) | {"tests", "benchmarks", "docs"}


def room_of(module: str) -> str:
    """Return the room of a module of `job`, or the module itself where it lies on the ground floor."""
    return module.split(".")[1]


def test_the_rooms_of_the_job_are_in_order() -> None:
    for path in files("job"):
        own = path.relative_to(ROOT / "job").with_suffix("").parts[0]
        if own in {"__init__", "entry"}:
            continue
        for name in imports(path):
            if not name.startswith("job."):
                continue
            other = room_of(name)
            if other in GROUND | {own, "__version__"}:
                continue
            assert own in ROOMS, f"{path.relative_to(ROOT)} lies on the ground and imports {name}"
            assert ROOMS.index(other) > ROOMS.index(own), f"{path.relative_to(ROOT)} imports {name}, which is above it"
            assert (own, other) not in BESIDE, f"{path.relative_to(ROOT)} imports {name}, which is beside it"


def test_stages_orchestrate() -> None:
    for path in files("job/stages"):
        assert len(path.read_text().splitlines()) <= STAGE_LINES, f"{path.name} does more than put the rooms together"


def test_every_folder_of_the_job_is_a_package() -> None:
    # Python imports a folder without one from a disk, but not from job.zip, which lists files alone.
    for folder in {path.parent for path in files("job")}:
        assert (folder / "__init__.py").is_file(), f"{folder.relative_to(ROOT)} cannot be imported from job.zip"


def public_names(path: Path) -> list[str]:
    """Return the public functions and classes of a file."""
    nodes = ast.parse(path.read_text()).body
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in nodes if isinstance(node, kinds) and not node.name.startswith("_")]


def test_a_file_is_one_noun() -> None:
    for room in MAY:
        for path in files(room):
            names = public_names(path)
            if path.relative_to(ROOT).as_posix() not in LISTS:
                assert len(names) <= FILE_NAMES, f"{path.relative_to(ROOT)} is about more than one thing: {names}"


def test_a_class_name_names_one_thing() -> None:
    found: dict[str, Path] = {}
    for room in MAY:
        for path in files(room):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    other = found.setdefault(node.name, path)
                    assert other == path, (
                        f"{node.name} stands in {other.relative_to(ROOT)} and {path.relative_to(ROOT)}"
                    )


def test_every_module_says_what_it_is() -> None:
    for room in MAY:
        for path in files(room):
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} says nothing of itself"


def test_what_others_import_loads_neither_spark_nor_tensorflow() -> None:
    program = (
        "import sys, job.settings, job.errors, job.storage.address, job.storage.s3, job.features.table\n"
        "import job.images.decode, job.features.model, job.pca.basis\n"
        "import job.results.tables, job.results.csv_files, job.results.run_record\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pyspark', 'tensorflow', 'boto3', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_storage_knows_s3() -> None:
    for path in files("job"):
        if path.parent.name != "storage":
            assert not {name.split(".")[0] for name in imports(path)} & {"boto3", "botocore", "obstore"}

"""What each test needs beyond `requirements-run.txt`, by its imports and fixtures, so that no marker is forgotten.

A test that starts Spark in a process of its own says so itself: `pytestmark = pytest.mark.spark`.
"""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Marker -> what it says of a test; pyproject.toml declares the same names.
MARKERS = ("spark", "tensorflow", "node", "browser", "server", "network", "dev")

# Packages of the fast tier, by the name they are imported by: requirements-run.txt and pytest.
FAST_PACKAGES = {
    "_pytest", "ai_edge_litert", "boto3", "botocore", "numpy", "obstore", "pandas", "pi_heif", "PIL", "py4j", "pyarrow",
    "pyspark", "pytest", "threadpoolctl", "tqdm",
}  # fmt: skip
# Other packages -> the marker of a module that imports them; "dev" where there is none here.
PACKAGES = {
    "aws_cdk": "node",
    "cdk_nag": "node",
    "constructs": "node",
    "keras": "tensorflow",
    "moto": "server",
    "playwright": "browser",
    "tensorflow": "tensorflow",
}
# Fixtures of any conftest -> what they start.
FIXTURES = {
    "browser": "browser",
    "built": "network",
    "cloud": "server",
    "moto_endpoint": "server",
    "project": "node",
    "spark": "spark",
    "synthesize": "node",
}


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the modules that a file imports as it is loaded, with what stands at the top of its classes and tries."""
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                visit(node.orelse)
            elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
                visit([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])

    visit(ast.parse(path.read_text()).body)
    return frozenset(found)


def files_of(module: str) -> list[Path]:
    """Return the files of ours that importing a module loads: its packages and itself."""
    parts = module.split(".")
    found = []
    for length in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:length])
        found += [file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]
    return found


@cache
def packages(path: Path) -> frozenset[str]:
    """Return the packages, other than ours and Python's own, that loading a file of ours loads."""
    seen, waiting, found = {path}, [path], set()
    while waiting:
        for module in imported(waiting.pop()):
            files = files_of(module)
            for file in files:
                if file not in seen:
                    seen.add(file)
                    waiting.append(file)
            top = module.split(".")[0]
            if not files and top not in sys.stdlib_module_names and not (ROOT / top).is_dir():
                found.add(top)
    return frozenset(found)


def markers_of_module(path: Path) -> set[str]:
    """Return the markers of all tests of a file, by what it imports and by the conftest files above it."""
    above = [folder / "conftest.py" for folder in path.parents if ROOT in (folder, *folder.parents)]
    loaded = [path, *(file for file in above if file.is_file())]
    return {PACKAGES.get(name, "dev") for file in loaded for name in packages(file) - FAST_PACKAGES}


def markers_of_fixtures(item: pytest.Item) -> set[str]:
    """Return the markers of a test by its fixtures; the parameter `s3` of a fixture stands for a bucket."""
    markers = {FIXTURES[name] for name in getattr(item, "fixturenames", []) if name in FIXTURES}
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return markers | {"server" for value in parameters if isinstance(value, str) and value == "s3"}

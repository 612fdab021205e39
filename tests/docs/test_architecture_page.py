"""The page on the architecture names files and functions that exist, and rooms as the test of the house has them."""

import ast
import re

from tests.docs.blocks import ROOT
from tests.test_architecture import MAY, ROOMS

TEXT = (ROOT / "docs/architecture.md").read_text()


def defined(path: str) -> set[str]:
    """Return the names that a file defines: `function`, `Class`, `Class.method`, `CONSTANT`."""
    names: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_every_file_that_it_names_exists() -> None:
    paths = set(re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?)`", TEXT)) - {"features/_CURRENT.json"}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_file_to_start_with_is_in_its_room() -> None:
    rows = re.findall(r"^\| `((?:job/)?\w+/)` \|.*?(?:\| )?(`\w+\.py`.*) \|$", TEXT, re.M)
    assert len(rows) > 10
    for room, files in rows:
        assert [file for file in re.findall(r"`(\w+\.py)`", files) if not (ROOT / room / file).exists()] == [], room


def test_every_name_that_it_gives_of_a_file_is_there() -> None:
    pairs = re.findall(r"`((?:\w+/)+\w+\.py)`, `([\w.]+)`", TEXT)
    assert len(pairs) >= 6
    assert [(path, name) for path, name in pairs if name not in defined(path)] == []


def test_every_room_is_named() -> None:
    for room in (*MAY, "fruits", "benchmarks", "tests", "docs"):
        assert f"`{room}/`" in TEXT or f"`{room}.py`" in TEXT, room
    order = [TEXT.index(f"`job/{room}/`" if room != "__main__" else "`job/__main__.py`") for room in ROOMS]
    assert order == sorted(order)

"""The pages that come from the code are what the code says now."""

import sys
from pathlib import Path

import pytest

from docs.generate import COLUMNS, pages
from tests.docs.blocks import ROOT

PAGES = pages()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help otherwise from Python 3.13 on")
@pytest.mark.parametrize("path", PAGES, ids=Path.as_posix)
def test_the_page_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text() == PAGES[path], "run: make docs-generate"


def test_no_page_is_left_over() -> None:
    assert {path.relative_to(ROOT) for path in (ROOT / "docs/reference").iterdir()} == {
        path for path in PAGES if path.parent.name == "reference"
    }


def test_no_page_depends_on_the_machine() -> None:
    for path, text in PAGES.items():
        assert str(ROOT) not in text, path
        assert str(Path.home()) not in text, path
        assert COLUMNS == 100

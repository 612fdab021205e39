"""The documentation site: it builds without a warning, and every link and anchor of it leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sphinx  # noqa: F401 - the marker of these tests comes from what they import

from docs.links import broken_links
from tests.docs.blocks import PAGES, ROOT

pytestmark = pytest.mark.dev

# The pages that a reader of the repository sees before the site.
ROOT_PAGES = [page for page in PAGES if ROOT / "docs" not in page.parents]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    options = ["-W", "-n", "--keep-going", "-q", "-b", "html", "-d", str(output / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, "docs", str(output / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return output / "html"


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    assert broken_links(site) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<h1 id="top">T</h1><a href="#top">1</a><a href="#gone">2</a><a href="other.html">3</a>'
        '<img src="page.html"><a href="page.html#top">4</a><a href="https://example.org/#gone">5</a>'
    )
    assert broken_links(tmp_path) == ["page.html: #gone", "page.html: other.html"]


def test_the_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|link rel="stylesheet"|iframe)[^>]*"(https?:[^"]*)"', page.read_text())
        assert fetched == [], page.name


@pytest.mark.parametrize("page", ROOT_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_the_pages_outside_the_site_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150

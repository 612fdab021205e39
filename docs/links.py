"""Check the links of the built site: every local address and every anchor in its HTML must exist.

    python -m docs.links build/docs

Sphinx checks the links of the Markdown; this check reads what it made of them, and follows no link into the network.
"""

import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors and the links of one HTML page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the id of an element, and the address of a link, an image, a style sheet or a script."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value:
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """Return a line for each link of a site that leads nowhere.

    Parameters
    ----------
    site : Path
        Folder with the built HTML.
    """
    pages = {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            missing = not target.exists()
            if missing or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a site; return the exit status: 0 if every link leads somewhere, 1 if one does not."""
    [site] = sys.argv[1:] if arguments is None else arguments
    broken = broken_links(Path(site))
    for line in broken:
        print(f"broken link: {line}", file=sys.stderr)  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""The code blocks of the documentation: Markdown in, blocks and their command lines out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    ROOT / "bootstrap/embedded/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
# Languages of blocks that hold no code: output, data, and directives of MyST.
NOT_CODE = ("text", "json", "csv", "{toctree}", "{include}")
CODE = ("sh", "python")

_FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """Return `docs/quickstart.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Return the command lines of a block for the shell, without comments."""
        lines = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found["language"].strip(), found["text"])


ALL = [block for page in PAGES for block in blocks(page)]

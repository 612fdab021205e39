"""Folders that may not be listed: how many there are, and the first of their names. It needs no Arrow."""

from dataclasses import dataclass
from typing import Any

# Names of folders that may not be listed: the first ones, however many there are.
_UNLISTED_NAMES = 20


@dataclass(frozen=True)
class UnlistedFolders:
    """Folders that may not be listed, and are left out: their number, and the first names in order."""

    count: int = 0
    names: tuple[str, ...] = ()

    def __add__(self, other: "UnlistedFolders") -> "UnlistedFolders":
        """Return the folders of both."""
        return UnlistedFolders(self.count + other.count, tuple(sorted({*self.names, *other.names})[:_UNLISTED_NAMES]))

    def to_json(self) -> dict[str, Any]:
        """Return the folders as JSON-ready values."""
        return {"count": self.count, "names": list(self.names)}

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> "UnlistedFolders":
        """Return the folders that `to_json` gave; none for a record of a version that did not keep them."""
        return cls(int(values["count"]), tuple(values["names"])) if values else cls()

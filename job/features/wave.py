"""Waves of the features table: a wave's files count once its marker `_COMMIT.json`, written last, names them."""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from job import storage
from job.errors import RunError
from job.features.layout import models, waves
from job.storage.lock import write_named

MARKER = "_COMMIT.json"
MARKER_FORMAT = 1


@dataclass(frozen=True)
class DataFile:
    """A features file: its address below the output, its number of rows, its size in bytes."""

    name: str
    rows: int
    bytes: int

    @property
    def wave(self) -> str:
        """Return the folder, below the output, of the wave that the file belongs to."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class WaveMarker:
    """The content of `_COMMIT.json`: the fingerprint of the model that made the features, and the wave's files."""

    fingerprint: str
    files: tuple[DataFile, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the marker as JSON-ready values; it names files without their folder, which is its own."""
        return {
            "format": MARKER_FORMAT,
            "fingerprint": self.fingerprint,
            "rows": sum(file.rows for file in self.files),
            "bytes": sum(file.bytes for file in self.files),
            "files": [{"name": storage.name(file.name), "rows": file.rows, "bytes": file.bytes} for file in self.files],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], wave: str) -> "WaveMarker":
        """Return the marker of the wave in this folder below the output."""
        files = (DataFile(f"{wave}/{file['name']}", file["rows"], file["bytes"]) for file in values["files"])
        return cls(values["fingerprint"], tuple(files))


def commit(output: str, wave: str, files: Iterable[DataFile]) -> None:
    """Make a wave count: write its marker, after all its files."""
    marker = WaveMarker(wave.split("/")[1].removeprefix("model="), tuple(files))
    write_named(output, storage.join(wave, MARKER), (json.dumps(marker.to_json(), indent=1) + "\n").encode())


def committed(output: str, fingerprint: str) -> list[DataFile]:
    """Return the files of every committed wave of a model, oldest first.

    Raises
    ------
    RunError
        For a marker that cannot be read or belongs to another model or version.
    """
    with ThreadPoolExecutor(16) as pool:
        files = pool.map(lambda wave: _committed_files(output, wave, fingerprint), waves(output, fingerprint))
        return [file for group in files for file in group]


def _committed_files(output: str, wave: str, fingerprint: str) -> tuple[DataFile, ...]:
    """Return the files that a wave's marker names: none where there is no marker."""
    address = storage.join(output, wave, MARKER)
    try:
        values = json.loads(storage.read(address))
    except FileNotFoundError:
        return ()
    except ValueError:
        raise RunError(f"{address} is damaged; delete the folder it is in, and its images are inferred again") from None
    if values.get("format") != MARKER_FORMAT or values.get("fingerprint") != fingerprint:
        raise RunError(f"{address} was written by another version or model; use another --output")
    return WaveMarker.from_json(values, wave).files


def drop_damaged(output: str, fingerprint: str) -> list[str]:
    """Take files that are gone, or not of the length that was committed, out of their waves; return their names.

    Their images count as never inferred from then on.
    """
    removed = []
    for wave in waves(output, fingerprint):
        entries = storage.scan(storage.join(output, wave))
        lengths = {storage.name(entry.address): entry.length for entry in entries if not entry.is_folder}
        files = _committed_files(output, wave, fingerprint)
        kept = [file for file in files if lengths.get(storage.name(file.name)) == file.bytes]
        if len(kept) < len(files):
            commit(output, wave, kept)
            removed += [file.name for file in files if file not in kept]
    for name in removed:
        storage.remove(storage.join(output, name))
    return removed


def drop_uncommitted(output: str) -> None:
    """Delete the remains of a killed run: waves without their marker, files that were not put in place."""
    for model in models(output):
        for wave in waves(output, model):
            if not storage.exists(storage.join(output, wave, MARKER)):
                storage.remove(storage.join(output, wave))
    if not storage.exists(output):
        return
    for entry in storage.scan(output):
        if re.fullmatch(r"\.([0-9a-f]{32}|probe-[0-9a-f]{8})", storage.name(entry.address)):
            storage.remove(entry.address)

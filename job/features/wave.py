"""Waves of the features table: a wave's files count once its marker `_COMMIT.json`, written last, names them."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from job import storage
from job.errors import RunError
from job.features.layout import model_name, models, waves
from job.storage.lock import check_held, write_named

T = TypeVar("T")

MARKER = "_COMMIT.json"
MARKER_FORMAT = 1

# Markers that are read at a time.
_REQUESTS = 16

# What a killed process leaves in an output beside its features: files that were not put in place.
_REMAINS = re.compile(r"\.([0-9a-f]{32}|probe-[0-9a-f]{8})")


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
    write_named(output, {storage.join(wave, MARKER): WaveMarker(_fingerprint(wave), tuple(files)).to_json()})


def committed(output: str, fingerprint: str) -> list[DataFile]:
    """Return the files of every committed wave of a model, oldest first.

    Raises
    ------
    RunError
        For a marker that cannot be read or belongs to another model or version.
    """
    return [file for marker in _markers(output, fingerprint) for file in marker.files]


def _markers(output: str, fingerprint: str) -> list[WaveMarker]:
    """Return the markers of a model's waves, oldest first; raises as `committed`."""
    markers = _in_parallel(partial(_read_marker, output, fingerprint), waves(output, fingerprint))
    return [marker for marker in markers if marker]


def _read_marker(output: str, fingerprint: str, wave: str) -> WaveMarker | None:
    """Return the marker of a wave, None where there is none."""
    address = storage.join(output, wave, MARKER)
    try:
        values = json.loads(storage.read(address))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunError(f"{address} is damaged; delete the folder it is in, and its images are inferred again") from None
    if values.get("format") != MARKER_FORMAT or values.get("fingerprint") != fingerprint:
        raise RunError(f"{address} was written by another version or model; use another --output")
    return WaveMarker.from_json(values, wave)


def drop_damaged(output: str, fingerprint: str) -> list[str]:
    """Take files that are gone, or not of the length that was committed, out of their waves; return their names.

    Their images count as never inferred from then on.
    """
    found = lengths(output, fingerprint)
    removed = []
    for files in (marker.files for marker in _markers(output, fingerprint)):
        kept = [file for file in files if found.get(file.name) == file.bytes]
        if len(kept) < len(files):
            commit(output, files[0].wave, kept)
            removed += [file.name for file in files if file not in kept]
    for name in removed:
        storage.remove(storage.join(output, name))
    return removed


def drop_uncommitted(output: str) -> None:
    """Delete what killed runs and losing task attempts left: waves without a marker, files that no marker names."""
    doomed: list[str] = []
    for model in models(output):
        for wave, names, marker in _contents(output, model):
            if marker is None:
                doomed.append(wave)
            else:
                doomed += names - {file.name for file in marker.files} - {storage.join(wave, MARKER)}
    if storage.exists(output):
        names = {storage.name(entry.address) for entry in storage.scan(output)}
        doomed += filter(_REMAINS.fullmatch, names)
    check_held(output)  # what is seen later may be another run's
    for name in doomed:
        storage.remove(storage.join(output, name))


def _contents(output: str, fingerprint: str) -> Iterator[tuple[str, set[str], WaveMarker | None]]:
    """Yield each wave of a model with the names, below the output, of its files and its marker.

    It skips waves whose marker cannot be read; `committed` reports them.
    """

    def marker(wave: str) -> WaveMarker | RunError | None:
        try:
            return _read_marker(output, fingerprint, wave)
        except RunError as error:
            return error

    files: dict[str, set[str]] = {wave: set() for wave in waves(output, fingerprint)}
    for name in lengths(output, fingerprint):
        files.get(name.rpartition("/")[0], set()).add(name)
    for wave, found in zip(files, _in_parallel(marker, list(files)), strict=True):
        if not isinstance(found, RunError):
            yield wave, files[wave], found


def drop_waves(output: str, names: Sequence[str]) -> None:
    """Delete waves; commit each as empty first, so that no marker names a file that is gone."""
    write_named(output, {storage.join(wave, MARKER): empty_marker(wave) for wave in names})
    for wave in names:
        storage.remove(storage.join(output, wave))


def empty_marker(wave: str) -> dict[str, Any]:
    """Return the content of the marker of a wave that holds nothing."""
    return WaveMarker(_fingerprint(wave), ()).to_json()


def _fingerprint(wave: str) -> str:
    """Return the fingerprint of the model that made a wave."""
    return wave.split("/")[1].removeprefix("model=")


def lengths(output: str, fingerprint: str) -> dict[str, int]:
    """Return the length of each file of a model's waves, by its address below the output."""
    start = len(storage.join(output, ""))
    return {
        entry.address[start:]: entry.length for entry in storage.walk(storage.join(output, model_name(fingerprint)))
    }


def _in_parallel(function: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """Apply a function that asks storage to each name, several at a time; return the results in order."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, names))

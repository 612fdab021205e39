"""The folders of the features table and of a run's work below an output: their names, and which of them are there.

features/model=<fingerprint>/wave=<run>-<number>/   rows, written by the workers
features/model=<fingerprint>/_model/                the model folder that made them
work/run=<run>/                                     what a run needs beside its results
"""

import re
import secrets
from collections.abc import Container
from datetime import UTC, datetime, timedelta

from job import storage
from job.storage.lock import check_held

_SECOND = "%Y%m%dT%H%M%S"


def new_run(output: str) -> str:
    """Return a name for a run, its time in UTC; it sorts after those of all runs and waves that the output holds.

    The youngest of several rows of one image counts. Where the clock is behind the last name, as one that was set back
    is, the new one is a second later than that.
    """
    names = subfolders(output, "work", "run=")
    for model in models(output):
        names += waves(output, model)
    last = [time + timedelta(seconds=1) for time in map(_time, names) if time]
    return f"{max([datetime.now(UTC), *last]):{_SECOND}}-{secrets.token_hex(3)}"


def _time(folder: str) -> datetime | None:
    """Return the time in the name of a run's or a wave's folder, None where `new_run` cannot have given it."""
    start = re.search(r"/(?:run|wave)=(\d{8}T\d{6})-", folder)
    try:
        return datetime.strptime(start[1], _SECOND).replace(tzinfo=UTC) if start else None
    except ValueError:
        return None


def wave_name(fingerprint: str, run: str, number: int) -> str:
    """Return a wave's folder below the output; names sort by time."""
    return f"features/model={fingerprint}/wave={run}-{number:04d}"


def model_name(fingerprint: str) -> str:
    """Return, below the output, the folder of all features that one model made."""
    return f"features/model={fingerprint}"


def model_folder(output: str, fingerprint: str) -> str:
    """Return the address of the kept model folder that made these features."""
    return storage.join(output, model_name(fingerprint), "_model")


def work_name(run: str) -> str:
    """Return, below the output, the folder of what a run needs beside its results: its listing, its row masks."""
    return f"work/run={run}"


def work_folder(output: str, run: str) -> str:
    """Return the address of a run's work folder."""
    return storage.join(output, work_name(run))


def models(output: str) -> list[str]:
    """Return the fingerprints of all models that the table has features of."""
    return [storage.name(folder).removeprefix("model=") for folder in subfolders(output, "features", "model=")]


def waves(output: str, fingerprint: str) -> list[str]:
    """Return the folders, below the output, of a model's waves, oldest first, committed or not."""
    return subfolders(output, model_name(fingerprint), "wave=")


def remove_runs(output: str, folder: str, keep: Container[str]) -> None:
    """Delete the parts `run=…` of a folder of the output, all but those of the runs to keep."""
    parts = [part for part in subfolders(output, folder, "run=") if storage.name(part).removeprefix("run=") not in keep]
    if parts:
        check_held(output)  # what is seen later may be another run's
    for part in parts:
        storage.remove(storage.join(output, part))


def subfolders(output: str, folder: str, start: str) -> list[str]:
    """Return the folders in a folder whose names start so, as addresses below the output, sorted."""
    try:
        entries = list(storage.scan(storage.join(output, folder)))
    except FileNotFoundError:
        return []
    names = sorted(storage.name(entry.address) for entry in entries if entry.is_folder)
    return [f"{folder}/{name}" for name in names if name.startswith(start)]

"""The hold of a stage on its output, and the files of an output that name others."""

from contextlib import AbstractContextManager
from typing import Any

from job import storage
from job.features.layout import models, waves
from job.features.snapshot import SNAPSHOT
from job.features.wave import MARKER, empty_marker
from job.progress import Progress
from job.results.run_record import RUN
from job.storage.lock import locked


def hold(output: str, progress: Progress | None = None) -> AbstractContextManager[None]:
    """Return the context in which a stage may write to an output; see `job.storage.lock.locked`."""
    return locked(output, progress, naming=naming_files)


def naming_files(output: str) -> dict[str, dict[str, Any]]:
    """Return the names, below an output, of all files that name others, each with its content where there is none."""
    markers = {
        storage.join(wave, MARKER): empty_marker(wave) for model in models(output) for wave in waves(output, model)
    }
    return {RUN: {}, SNAPSHOT: {}} | markers

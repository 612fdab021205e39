"""Generations of results: the one that `run.json` names, the one before it, and what plain readers are shown.

_results/run=<id>/       the rows of a generation, where they stay; readers of Parquet folders skip the name
pca_model/run=<id>/      its basis
neighbours/run=<id>/     its index
pca_results/run=<id>/    the rows of the current generation once more, for plain readers

The generation before the current one stays until the next run begins, for those who still read it.
"""

from collections.abc import Iterator

from job import storage
from job.features.layout import subfolders
from job.results.run_record import RunRecord, read_run
from job.storage.lock import check_held

_ROWS = "_results"
SHOWN = "pca_results"
GENERATION_FOLDERS = (_ROWS, "pca_model", "neighbours")


def rows_folder(output: str, run: str) -> str:
    """Return the address of the folder that holds the rows of a generation for good."""
    return storage.join(output, _ROWS, f"run={run}")


def show_rows(output: str, run: str) -> None:
    """Have plain readers of `pca_results/` find the rows of a generation, and no others."""
    storage.show(rows_folder(output, run), storage.join(output, SHOWN), f"run={run}")


def drop_unnamed(output: str) -> None:
    """Delete, before a run begins, the results that `run.json` does not name; show those that it names."""
    run = read_run(output)
    named = None if run is None else run.run
    unnamed = [f"{folder}/{part}" for folder in GENERATION_FOLDERS for part in _parts(output, folder) if part != named]
    check_held(output)
    for folder in unnamed:
        storage.remove(storage.join(output, folder.replace("/", "/run=", 1)))
    if run is None:
        storage.remove(storage.join(output, SHOWN))
    elif storage.exists(rows_folder(output, run.run)):
        if _shown(output) != _rows(output, run.run):
            show_rows(output, run.run)
    else:  # an earlier version wrote them where plain readers look
        for part in _parts(output, SHOWN):
            if part != named:
                storage.remove(storage.join(output, SHOWN, f"run={part}"))


def strangers(output: str, run: RunRecord) -> Iterator[str]:
    """Yield the folders, below the output, of results that are neither current nor those before them."""
    for folder in GENERATION_FOLDERS:
        yield from (f"{folder}/run={part}" for part in _parts(output, folder) if part not in {run.run, run.earlier})
    yield from (f"{SHOWN}/run={part}" for part in _parts(output, SHOWN) if part != run.run)


def _parts(output: str, folder: str) -> list[str]:
    """Return the runs that have a part in a folder of the output."""
    return [storage.name(part).removeprefix("run=") for part in subfolders(output, folder, "run=")]


def _rows(output: str, run: str) -> set[tuple[str, str, int]]:
    """Return the files of a generation as those that are to be shown: run, name, bytes."""
    return {(run, name, length) for name, length in _files(rows_folder(output, run))}


def _shown(output: str) -> set[tuple[str, str, int]]:
    """Return the files that plain readers find: run, name, bytes."""
    return {
        (run, name, length)
        for run in _parts(output, SHOWN)
        for name, length in _files(storage.join(output, SHOWN, f"run={run}"))
    }


def _files(folder: str) -> Iterator[tuple[str, int]]:
    for entry in storage.scan(folder):
        yield storage.name(entry.address), entry.length

"""Generations of results: the one that `run.json` names, the one before it, and what plain readers are shown.

_results/run=<id>/       the rows of a generation, where they stay; readers of Parquet folders skip the name
pca_model/run=<id>/      its basis
neighbours/run=<id>/     its index
label_counts/run=<id>/   its labels, where they are too many for run.json
pca_results/run=<id>/    the rows of the current generation once more, for plain readers

The generation before the current one stays until the next run begins, for those who still read it.
"""

from collections.abc import Iterator

from job import storage
from job.features.layout import remove_runs, subfolders
from job.results.run_record import RunRecord, read_run
from job.storage.lock import check_held

_ROWS = "_results"
_SHOWN = "pca_results"
_FOLDERS = (_ROWS, "pca_model", "neighbours", "label_counts")


def rows_folder(output: str, run: str) -> str:
    """Return the address of the folder that holds the rows of a generation for good."""
    return storage.join(output, _ROWS, f"run={run}")


def show_rows(output: str, run: str) -> None:
    """Have plain readers of `pca_results/` find the rows of a generation, and no others."""
    source, shown = rows_folder(output, run), storage.join(output, _SHOWN)
    storage.show(source, shown, f"run={run}", lambda: check_held(output))


def drop_unnamed(output: str) -> None:
    """Delete, before a run begins, the results that `run.json` does not name; show those that it names."""
    run = read_run(output)
    named = set() if run is None else {run.run}
    for folder in _FOLDERS:
        remove_runs(output, folder, keep=named)
    if run is None or not storage.exists(rows_folder(output, run.run)):
        # An earlier version wrote its rows where plain readers look.
        remove_runs(output, _SHOWN, keep=named)
    elif not _is_shown(output, run.run):
        show_rows(output, run.run)


def strangers(output: str, run: RunRecord) -> Iterator[str]:
    """Yield the folders, below the output, of results that are neither current nor those before them."""
    for folder in _FOLDERS:
        yield from (f"{folder}/run={part}" for part in _parts(output, folder) if part not in {run.run, run.earlier})
    yield from (f"{_SHOWN}/run={part}" for part in _parts(output, _SHOWN) if part != run.run)


def _parts(output: str, folder: str) -> list[str]:
    """Return the runs that have a part in a folder of the output."""
    return [storage.name(part).removeprefix("run=") for part in subfolders(output, folder, "run=")]


def _is_shown(output: str, run: str) -> bool:
    """Return whether plain readers find the files of a generation, and no others, by name and length."""
    shown = storage.join(output, _SHOWN, f"run={run}")
    return _parts(output, _SHOWN) == [run] and _lengths(shown) == _lengths(rows_folder(output, run))


def _lengths(folder: str) -> dict[str, int]:
    """Return the length, in bytes, of each file of a folder."""
    return {storage.name(entry.address): entry.length for entry in storage.scan(folder)}

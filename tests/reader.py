"""Reads an output in a loop while others write to it, and counts what it finds: python -m tests.reader OUTPUT SIZE …

Each answer has to be of one run and whole: as many different paths as one of the sizes. It reads until its standard
input ends, then prints its tally as JSON.
"""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from job.errors import JobError
from job.features.table import read_features
from job.results.tables import read_results


def shown(output: str) -> "tuple[list[str], int]":
    """Return the paths that pandas finds in `pca_results/`, and the number of their runs."""
    frame = pd.read_parquet(Path(output, "pca_results"))
    if frame.empty and not Path(output, "run.json").exists():  # a first run was killed before its results were named
        raise FileNotFoundError("there are no results yet")
    return list(frame["path"]), frame["run"].nunique()


def arrow(read: Callable[[str], object]) -> "Callable[[str], tuple[list[str], int]]":
    """Return a function that reads a table of one run and returns its paths."""

    return lambda output: (paths_of(read(output)), 1)


def paths_of(table: object) -> list[str]:
    """Return the paths of an Arrow table of features or results."""
    assert isinstance(table, pa.Table)
    paths: list[str] = table.column("path").to_pylist()
    return paths


WAYS = {"pca_results": shown, "read_results": arrow(read_results), "read_features": arrow(read_features)}


def watch(output: str, sizes: set[int], ended: threading.Event) -> tuple[Counter[str], list[str]]:
    """Read an output in each way until the event is set; return the number of whole answers, and the faults."""
    whole: Counter[str] = Counter()
    faults: list[str] = []
    while not ended.is_set():
        for way, read in WAYS.items():
            try:
                paths, runs = read(output)
            except (FileNotFoundError, JobError) as error:
                # Before the first results there are none; pandas may have listed a folder that was then replaced.
                if whole[way] and way != "pca_results":
                    faults.append(f"{way}: {error}")
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                faults.append(f"{way}: {type(error).__name__} {error}")
                continue
            whole[way] += 1
            if len(set(paths)) != len(paths) or runs != 1 or len(paths) not in sizes:
                faults.append(f"{way}: {len(paths)} rows of {len(set(paths))} images and {runs} runs")
    return whole, faults


def main() -> None:
    """Run the command."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    whole, faults = watch(sys.argv[1], set(map(int, sys.argv[2:])), ended)
    print(json.dumps({"whole": whole, "faults": faults}))


if __name__ == "__main__":
    main()

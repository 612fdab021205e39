"""Many files in, few merged files out: a tree of Spark tasks, each of which merges some files into one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job import storage
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Most files that a task, or at last the driver, merges at a time.
FAN_IN = 16


@dataclass(frozen=True)
class _Group:
    """The files that one task merges, and the address that it writes to."""

    sources: tuple[str, ...]
    target: str


def merge_in_tasks(
    spark: "SparkSession",
    files: Sequence[str],
    merge: Callable[[Sequence[str], str], None],
    folder: str,
    fan_in: int = FAN_IN,
) -> list[str]:
    """Merge files, level by level, until there are at most `fan_in`.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of str
        Addresses; they are left as they are.
    merge : callable
        Writes, in a worker, the content of several files to one address.
    folder : str
        Address of a folder for the merged files, which the caller deletes.
    fan_in : int
        Most files that are merged at a time, at least 2.

    Returns
    -------
    list of str
        Addresses of files that together hold the content of all, in the same order.

    Raises
    ------
    RunError
        When a task fails.
    """
    found, level = list(files), 0
    while len(found) > fan_in:
        groups = [
            _Group(tuple(found[start : start + fan_in]), storage.join(folder, f"merged-{level}-{start // fan_in:05d}"))
            for start in range(0, len(found), fan_in)
        ]
        run_tasks(spark, lambda group: merge(group.sources, group.target), groups)
        found, level = [group.target for group in groups], level + 1
    return found

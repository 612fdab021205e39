"""Functions run as tasks: order, progress, errors, what a later task is spared."""

import gc
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession, functions

from job.errors import RunError
from job.settings import Settings
from job.spark.shipping import ship
from job.spark.tasks import collect_table, run_tasks
from job.stages.featurize import featurize
from tests.conftest import make_images


def test_tasks_give_their_results_in_the_order_of_the_items(spark: SparkSession) -> None:
    def slow_first(number: int) -> tuple[int, int]:
        time.sleep(0.3 if number == 0 else 0)
        return number * number, os.getpid()

    found = run_tasks(spark, slow_first, range(7))
    assert [number for number, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    assert run_tasks(spark, slow_first, []) == []
    assert os.getpid() not in {pid for _, pid in found}


def test_a_later_task_of_a_worker_begins_without_reading_sparks_own_archives(spark: SparkSession) -> None:
    def archives(_: int) -> tuple[int, dict[str, bool]]:
        import zipimport  # noqa: PLC0415 - in the worker

        # As each task's start does it; what is read anew is another dictionary.
        finders = [one for one in sys.path_importer_cache.values() if isinstance(one, zipimport.zipimporter)]
        before = {one.archive: zipimport._zip_directory_cache.get(one.archive) for one in finders}  # type: ignore[attr-defined]
        for one in finders:
            one.invalidate_caches()
        now = zipimport._zip_directory_cache  # type: ignore[attr-defined]
        return os.getpid(), {archive: now.get(archive) is known for archive, known in before.items()}

    ship(spark)
    run_tasks(spark, archives, range(8))
    found = [kept for _, kept in run_tasks(spark, archives, range(8))]
    assert any(archive.endswith("/pyspark.zip") for kept in found for archive in kept), "Spark has no archive here"
    for archive, kept in (one for each in found for one in each.items()):
        # Only Spark's own are left alone: others may have changed.
        assert kept is archive.endswith(("/pyspark.zip", "-src.zip")), archive


def test_finished_items_are_reported_with_their_weight(spark: SparkSession) -> None:
    reported: list[int] = []
    threads = threading.active_count()
    run_tasks(spark, lambda item: item, [10, 20, 30], reported.append, weight=lambda item: item)
    assert reported[-1] == 60
    assert reported == sorted(reported)
    assert set(reported) <= {0, 10, 20, 30, 40, 50, 60}
    assert threading.active_count() <= threads + 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("the 3rd image: bad"), "a task failed: ValueError: the 3rd image: bad"),
        (OSError(5, "no space", "/x"), "a task failed: OSError: [Errno 5] no space: '/x'"),
        (KeyError("a;b"), "a task failed: KeyError: 'a;b'"),
        (
            RunError("/x has 3 rows where 4 were committed"),
            "a task failed: job.errors.RunError: /x has 3 rows where 4 were committed",
        ),
        (MemoryError(), "a task failed: MemoryError"),
        (AssertionError(), "a task failed: AssertionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_in_a_task_is_reported_in_one_line_of_its_own_words(
    spark: SparkSession, error: Exception, words: str
) -> None:
    ship(spark)

    def fail(item: int) -> int:
        raise error

    with pytest.raises(RunError) as caught:
        run_tasks(spark, fail, [1])
    assert str(caught.value) == words


def test_an_error_of_spark_itself_is_reported_in_its_own_words(spark: SparkSession) -> None:
    failing = spark.range(1).select(functions.raise_error(functions.lit("of no use")))
    with pytest.raises(RunError, match=r"^a task failed: \[USER_RAISED_EXCEPTION\] of no use"):
        collect_table(failing)


WORKER = "pid long, known boolean, frozen long, caught string, handlers string, timer string, limits string"


def worker(_: object) -> Iterator[pa.RecordBatch]:
    """Yield what a plain task of a user finds in its worker."""
    time.sleep(0.1)  # so that one worker does not do all
    with open("/proc/self/status") as file:  # noqa: PTH123
        caught = re.findall(r"Sig(?:Cgt|Ign|Blk):\s*(\w+)", file.read())  # faulthandler's are unknown to Python
    found = {
        "pid": os.getpid(),
        "known": "job.features.extraction" in sys.modules,
        "frozen": gc.get_freeze_count(),
        "caught": str(caught),
        "handlers": str([str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()]),
        "timer": str(signal.getitimer(signal.ITIMER_REAL)),
        "limits": str(resource.getrlimit(resource.RLIMIT_AS)),
    }
    yield pa.RecordBatch.from_pylist([found])


def workers(spark: SparkSession) -> dict[int, dict[str, Any]]:
    """Return what plain tasks of a user find, by the process of their worker."""
    rows = spark.range(0, 8, 1, 8).mapInArrow(worker, WORKER).collect()
    return {row["pid"]: row.asDict() for row in rows}


def test_a_run_leaves_the_workers_of_a_borrowed_session_as_they_were(
    spark: SparkSession, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers of another environment are other processes: these have not run a task yet.
    monkeypatch.setitem(spark.sparkContext.environment, "FRUITS_WORKERS", "borrowed")
    borrowed = spark.newSession()
    before = workers(borrowed)
    images = make_images(tmp_path / "images", {"a": 4, "b": 4})
    featurize(borrowed, Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "output")))
    after = workers(borrowed)
    assert any(found["known"] for found in after.values()), "workers are not used again here"
    for pid, found in after.items():
        first = before.get(pid) or next(iter(before.values()))
        assert found | {"pid": 0, "known": False} == first | {"pid": 0, "known": False}


def test_workers_of_our_own_session_are_hastened(spark: SparkSession) -> None:
    ship(spark)
    run_tasks(spark, lambda _: os.getpid(), range(4))
    assert any(found["frozen"] for found in workers(spark).values())

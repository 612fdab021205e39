"""Functions and items in, Spark tasks run on a session, results out."""

import gc
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from job.compat import keep_spark_zips_read
from job.errors import RunError
from job.spark.heartbeat import repeatedly

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

T = TypeVar("T")
R = TypeVar("R")

# Setting of a session that only the job uses: its workers may be left other than they were found.
OWN_SESSION = "spark.fruits.own"


def first_attempt() -> bool:
    """Return, in a worker, whether this is its task's first attempt."""
    from pyspark import TaskContext  # noqa: PLC0415 - for workers only

    context = TaskContext.get()
    return context is None or context.attemptNumber() == 0


def run_tasks(
    spark: "SparkSession",
    function: Callable[[T], R],
    items: Sequence[T],
    done: Callable[[int], None] | None = None,
    weight: Callable[[T], int] = lambda _: 1,
) -> list[R]:
    """Run a function on each item, one Spark task each, and return the results in the order of the items.

    Parameters
    ----------
    spark : SparkSession
    function : callable
        Its results travel to the driver pickled, so they are small.
    items : sequence
        They travel in the tasks' closure, so they are small.
    done : callable, optional
        Receives, a few times a second, the summed weights of the finished items.
    weight : callable
        Returns the weight of an item.

    Raises
    ------
    RunError
        When a task has failed at each of its attempts, with the error that Python raised in the worker.
    """
    if not items:
        return []
    finished, own = spark.sparkContext.accumulator(0), spark.conf.get(OWN_SESSION, "false") == "true"

    def work(numbered: tuple[int, T]) -> "Iterator[pa.RecordBatch]":
        number, item = numbered
        result = result_row(number, function(item))
        finished.add(weight(item))
        yield result
        if own:
            _hasten_next_task()

    with _reported(finished, done):
        results = dict(collect_results(map_items(spark, list(enumerate(items)), work, RESULT_SCHEMA)))
    return [results[number] for number in range(len(items))]


def map_items(
    spark: "SparkSession",
    items: Sequence[T],
    function: "Callable[[T], Iterable[pa.RecordBatch]]",
    schema: "str | pa.Schema",
) -> "DataFrame":
    """Return the rows that a function makes of each item, as a table of Spark: one item a partition, one task each.

    Parameters
    ----------
    spark : SparkSession
    items : sequence
        They travel in the tasks' closure, so they are small.
    function : callable
        Yields, in a worker, the record batches of one item, in the schema's columns.
    schema : str or pyarrow.Schema
        The table's columns.
    """

    def work(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from function(items[number])

    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only with Spark

    columns = schema if isinstance(schema, str) else from_arrow_schema(schema)
    return spark.range(0, len(items), 1, max(len(items), 1)).mapInArrow(work, columns)


def _hasten_next_task() -> None:
    """Spare this worker's next tasks what Spark does at the start and the end of each: 0.2 s on Python 3.11.

    Spark collects garbage after each task, among everything ever imported: what is alive now is left out of that.
    """
    keep_spark_zips_read()
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


# A task's answer to the driver: its number and a pickled result.
RESULT_SCHEMA = "index long, result binary"


def result_row(number: int, result: object) -> "pa.RecordBatch":
    """Return, in a worker, a task's result as the row of `RESULT_SCHEMA` that `collect_results` reads."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.RecordBatch.from_pydict({"index": [number], "result": [pickle.dumps(result)]})


def collect_results(tasks: "DataFrame") -> list[tuple[int, Any]]:
    """Run tasks that yield rows of `RESULT_SCHEMA`; return their numbers and unpickled results; raises `RunError`."""
    rows = collect_table(tasks).to_pydict()
    # Our own workers made these pickles, as they make all that Spark sends between Python processes.
    return [(index, pickle.loads(result)) for index, result in zip(rows["index"], rows["result"], strict=True)]  # noqa: S301


def collect_table(frame: "DataFrame") -> "pa.Table":
    """Return the rows of a table of Spark, which are few.

    Raises
    ------
    RunError
        When a task has failed at each of its attempts, with the error that Python raised in the worker.
    """
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - only with Spark
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        return frame.toArrow()
    except (Py4JJavaError, PySparkException) as error:
        raise RunError(_last_words(str(error))) from error


def _last_words(text: str) -> str:
    """Return the line of Spark's report of a failed task in which Python names the error."""
    stripped = [re.sub(r"^\s*(Caused by: |: )?", "", line) for line in text.splitlines()]
    lines = [line.strip() for line in stripped if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b.*:", line)]
    python = [line for line in lines if not line.startswith(("org.", "java.", "py4j."))]
    return f"a task failed: {(python or lines or text.strip().splitlines() or ['no reason given'])[-1]}"


def _reported(counter: Any, done: Callable[[int], None] | None) -> AbstractContextManager[None]:
    if done is None:
        return nullcontext()
    return repeatedly(lambda: done(counter.value), 0.25)

"""The runner of a stage's tasks: a Spark session by default; tests run tasks in this process."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from job.spark.capacity import parallelism, retries
from job.spark.shipping import ship
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")


class TaskRunner(Protocol):
    """Runs a function on each item, several at a time."""

    @property
    def parallelism(self) -> int:
        """The number of tasks that run at once."""

    @property
    def retries(self) -> bool:
        """Whether a failed task is repeated."""

    def run(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        done: Callable[[int], None],
        weight: Callable[[T], int],
    ) -> list[R]:
        """Return the results in the order of the items; report the summed weights of finished items to `done`."""


class SparkRunner:
    """Runs each item as a task of a Spark session, to which it ships this package; raises `JobError` as `ship` does."""

    def __init__(self, spark: "SparkSession") -> None:
        ship(spark)
        self._spark = spark

    @property
    def parallelism(self) -> int:
        """Return how many tasks the session can run at once."""
        return parallelism(self._spark)

    @property
    def retries(self) -> bool:
        """Return whether the session repeats a failed task."""
        return retries(self._spark)

    def run(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        done: Callable[[int], None],
        weight: Callable[[T], int],
    ) -> list[R]:
        """Run the tasks; raises `RunError` when one failed at each of its attempts."""
        return run_tasks(self._spark, function, items, done, weight)

"""A runner of tasks for tests: in this process, in order, one attempt each."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class InProcessRunner:
    """Runs tasks without Spark; stands for a session of two cores that would try a failed task again."""

    parallelism = 2
    retries = True

    def run(
        self, function: Callable[[T], R], items: Sequence[T], done: Callable[[int], None], weight: Callable[[T], int]
    ) -> list[R]:
        """Return the results in the order of the items; the first error ends it."""
        return [function(item) for item in items]

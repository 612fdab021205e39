"""What a session can do: tasks at once, attempts per task."""

import pytest
from pyspark import SparkConf
from pyspark.sql import SparkSession

from job.spark.capacity import parallelism, retries


class Session:
    """A session as far as its master and its settings go; two cores are there now."""

    defaultParallelism = 2

    def __init__(self, master: str = "yarn", **options: str) -> None:
        self.master, self.sparkContext = master, self
        self._options = [(f"spark.{name.replace('_', '.')}", value) for name, value in options.items()]

    def getConf(self) -> SparkConf:
        return SparkConf(loadDefaults=False).setAll(self._options)


EXECUTORS = {"dynamicAllocation_maxExecutors": "10", "executor_cores": "4"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dynamicAllocation_enabled": "true", **EXECUTORS}, 40),
        ({"dynamicAllocation_enabled": "false", **EXECUTORS}, 2),
        ({"dynamicAllocation_enabled": "true"}, 2),
    ],
)
def test_executors_that_may_still_come_count(options: dict[str, str], expected: int) -> None:
    assert parallelism(Session(**options)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("master", "failures", "expected"),
    [
        ("local", None, False),
        ("local[2]", None, False),
        ("local[*]", "4", False),
        ("local[*,1]", None, False),
        ("local[*,4]", "1", True),
        ("local[2, 3]", None, True),
        ("local-cluster[2,1,1024]", None, True),
        ("yarn", None, True),
        ("yarn", "1", False),
        ("k8s://https://host", "4", True),
    ],
)
def test_which_sessions_try_a_task_again(master: str, failures: str | None, expected: bool) -> None:
    options = {} if failures is None else {"task_maxFailures": failures}
    assert retries(Session(master, **options)) is expected  # type: ignore[arg-type]


def test_the_tests_own_session_tries_tasks_again(spark: SparkSession) -> None:
    assert retries(spark)

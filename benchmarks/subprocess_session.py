"""A Spark session in a process of its own, so that two can run side by side and memory is measured for one."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import job.spark
from job.command_line import Log
from job.settings import Settings
from job.spark.java import find_java
from job.spark.session import local_session
from job.spark.shipping import ship

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
Open = Callable[[], "AbstractContextManager[SparkSession]"]

_stack = ExitStack()
_spark: "SparkSession"


class SubprocessSession:
    """A session in another process, which runs functions on it one at a time."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self.process = pool.submit(os.getpid).result()

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns that gets the session, then these arguments."""
        return self._pool.submit(_call, function, *arguments).result()


@contextmanager
def subprocess_session(opened: Open) -> Iterator[SubprocessSession]:
    """Open a session in a process of its own and yield it; end both."""
    with ProcessPoolExecutor(1, get_context("spawn"), _open, (opened,)) as pool:
        yield SubprocessSession(pool)
        pool.submit(_stack_close).result()


def _open(opened: Open) -> None:
    global _spark  # noqa: PLW0603 - the process exists for this one session
    logging.getLogger("py4j").setLevel(logging.ERROR)
    os.environ["PYTHONPATH"] = str(Path.cwd())  # Spark's workers look there for the benchmarks' own functions
    _spark = _stack.enter_context(opened())


def _stack_close() -> None:
    _stack.close()


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(_spark, *arguments)


@contextmanager
def job_session() -> Iterator["SparkSession"]:
    """Yield the session that the job makes for this machine."""
    with tempfile.TemporaryDirectory() as folder, local_session(Settings(), Log(Path(folder, "spark.log"))) as spark:
        ship(spark)
        yield spark


@contextmanager
def plain_session(memory: str = "4g", options: Mapping[str, str] | None = None) -> Iterator["SparkSession"]:
    """Yield a session as Spark makes it, but on every core, with that much memory, silent, and with some options."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - in the child only

    java = find_java()
    os.environ |= {"JAVA_HOME": str(java), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    log4j = Path(job.spark.__file__).with_name("log4j2.properties")
    silent = f"-Dlog4j2.configurationFile={log4j.as_uri()}"
    builder = SparkSession.Builder().master("local[*]").config("spark.driver.memory", memory)
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.driver.extraJavaOptions", silent)
    for name, value in (options or {}).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()

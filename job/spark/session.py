"""The Spark session of a command: made for this machine on a laptop, the one of `spark-submit` elsewhere."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.command_line import Log
from job.compat import forget_jvm
from job.errors import JobError
from job.settings import Settings
from job.spark.heartbeat import repeatedly
from job.spark.java import NO_JAVA, find_java
from job.spark.tasks import OWN_SESSION

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Four attempts a task: local mode repeats no task unless its master says so.
LOCAL_MASTER = "local[*,4]"


@contextmanager
def local_session(
    settings: Settings, log: Log, java_finder: Callable[[], Path | None] = find_java
) -> Iterator["SparkSession"]:
    """Yield a session and stop it: under `spark-submit` the one it set up, else one that suits this machine.

    Parameters
    ----------
    settings : Settings
        `master` and `ui`.
    log : Log
        Where Spark's own messages go.
    java_finder : callable
        Returns the home of a Java that Spark runs on, or None.

    Raises
    ------
    JobError
        Where there is no Java that Spark runs on, or Spark does not start.
    """
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - half a second, which refusing bad input need not wait for
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started this process and has set everything
        spark = SparkSession.builder.getOrCreate()
        spark.conf.set(OWN_SESSION, "true")
        try:
            yield spark
        finally:
            spark.stop()
        return
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415

    home = java_finder()
    if home is None:
        raise JobError(NO_JAVA)
    os.environ["JAVA_HOME"] = str(home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    conf = SparkConf().setAll(_local_options(settings))
    with log.open() as sink, _followed(log):
        try:
            gateway = launch_gateway(conf, popen_kwargs={"stdout": sink, "stderr": sink})  # type: ignore[no-untyped-call]
            spark = SparkSession(SparkContext(conf=conf, gateway=gateway))
            spark.conf.set(OWN_SESSION, "true")
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise JobError(f"Spark did not start: {first} (its own words: {log.path})") from error
        with _interruptible(gateway.proc):
            try:
                yield spark
            finally:
                if gateway.proc.poll() is None:
                    spark.stop()
                _end(gateway)


@contextmanager
def _interruptible(jvm: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Have Ctrl-C end the JVM and raise one KeyboardInterrupt.

    PySpark's own handler calls the JVM in the middle of another call, which breaks both and raises anything but a
    KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def end(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        logging.disable()  # Py4J logs a traceback for each call that is cut off
        jvm.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    except Exception:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            logging.disable(logging.NOTSET)


def _end(gateway: Any) -> None:
    """End the JVM with the session, so that the next session of this process starts anew and nothing outlives it."""
    if gateway.proc.poll() is None:
        gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=30)
    forget_jvm()


def _local_options(settings: Settings) -> list[tuple[str, str]]:
    log4j = Path(__file__).with_name("log4j2.properties")
    return list(
        {
            "spark.master": settings.master or LOCAL_MASTER,
            "spark.app.name": "fruits",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            # With few cores and a short life, the serial collector without the second compiler is fastest.
            "spark.driver.extraJavaOptions": (
                f"-Dlog4j2.configurationFile={log4j.as_uri()} -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
            ),
            "spark.ui.enabled": str(settings.ui).lower(),
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.catalogImplementation": "in-memory",
            "spark.executorEnv.OMP_NUM_THREADS": "1",
        }.items()
    )


@contextmanager
def _followed(log: Log) -> Iterator[None]:
    """Copy to stderr what is added to the log for the duration of the block, if the log is verbose."""
    if not log.verbose:
        yield
        return
    with log.path.open("rb") as file:
        file.seek(0, os.SEEK_END)

        def show() -> None:
            sys.stderr.buffer.write(file.read())
            sys.stderr.buffer.flush()

        with repeatedly(show, 0.2):
            yield

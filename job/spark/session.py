"""The Spark session: made for this machine on a laptop, borrowed elsewhere; ships the package."""

import atexit
import hashlib
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.command_line import Log
from job.errors import JobError
from job.settings import Settings
from job.spark.heartbeat import repeatedly

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_VERSIONS = (17, 21)
JAVA_ROOTS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
NO_JAVA = (
    "Spark needs Java 17 or 21 and none was found; on Debian or Ubuntu: apt-get install openjdk-17-jre-headless,"
    " on macOS: brew install openjdk@17; or point JAVA_HOME to one"
)

# Four attempts a task: local mode has no retries unless it is asked for them.
LOCAL_MASTER = "local[*,4]"


def find_java(roots: Sequence[Path] = JAVA_ROOTS) -> Path | None:
    """Return the home of a Java that Spark runs on: JAVA_HOME, then PATH, then where Debian and macOS keep them."""
    homes = [os.environ.get("JAVA_HOME", "")]
    homes += [str(Path(folder, "java").resolve().parent.parent) for folder in os.get_exec_path()]
    homes += [str(home) for root in roots if root.is_dir() for home in sorted(root.iterdir())]
    for home in dict.fromkeys(homes):
        for candidate in (Path(home), Path(home, "Contents", "Home")) if home else ():
            if java_version(candidate / "bin" / "java") in JAVA_VERSIONS:
                return candidate
    return None


def java_version(java: Path) -> int | None:
    """Return the major version of a `java` program, or None where it is not one."""
    if not os.access(java, os.X_OK):
        return None
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else None


@contextmanager
def local_session(settings: Settings, log: Log) -> Iterator["SparkSession"]:
    """Yield a session and stop it: under `spark-submit` the one it set up, else one that suits this machine.

    Raises
    ------
    JobError
        Where there is no Java that Spark runs on, or Spark does not start.
    """
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - half a second that refusing bad input need not wait
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit, which has set everything
        spark = SparkSession.builder.getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()
        return
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415

    home = find_java()
    if home is None:
        raise JobError(NO_JAVA)
    os.environ["JAVA_HOME"] = str(home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    conf = SparkConf().setAll(_local_options(settings))
    log.path.parent.mkdir(parents=True, exist_ok=True)
    with log.path.open("ab") as sink, _followed(log):
        try:
            gateway = launch_gateway(conf, popen_kwargs={"stdout": sink, "stderr": sink})  # type: ignore[no-untyped-call]
            spark = SparkSession(SparkContext(conf=conf, gateway=gateway))
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
    """Have Ctrl-C end the JVM and come out as one KeyboardInterrupt.

    PySpark's own handler talks to the JVM in the middle of another talk with it, which breaks both and ends in anything
    but a KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def end(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        logging.disable()  # Py4J logs a traceback for each talk that is cut off
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
    """End the JVM with the session, so that another one in this process starts afresh and nothing outlives us."""
    from pyspark import SparkContext  # noqa: PLC0415

    if gateway.proc.poll() is None:
        gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=30)
    SparkContext._gateway = SparkContext._jvm = None


def _local_options(settings: Settings) -> list[tuple[str, str]]:
    log4j = Path(__file__).with_name("log4j2.properties")
    return list(
        {
            "spark.master": settings.master or LOCAL_MASTER,
            "spark.app.name": "fruits",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            # Few cores, short life: the serial collector and no profiling of hot code by the second compiler pay.
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
    """While it lasts, show on stderr what is added to the log, if that was asked for."""
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


def check_session(spark: object) -> None:
    """Refuse a session that the job cannot work with.

    Raises
    ------
    JobError
        For Spark Connect, for a stopped session, for Spark other than 4, for a server unlike the installed pyspark.
    """
    import pyspark  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if not isinstance(spark, SparkSession):
        kind = f"{type(spark).__module__}.{type(spark).__name__}"
        word = "Spark Connect sessions have no workers to ship code to" if "connect" in kind else f"this is a {kind}"
        raise JobError(f"a classic SparkSession is needed; {word}")
    if spark.sparkContext._jsc is None:
        raise JobError("the Spark session was stopped; make a new one")
    if spark.version.split(".")[:2] != pyspark.__version__.split(".")[:2] or not spark.version.startswith("4."):
        raise JobError(
            f"the session runs Spark {spark.version} with pyspark {pyspark.__version__}; the job needs Spark 4 and a"
            " pyspark of the same version"
        )


def ship(spark: "SparkSession") -> None:
    """Have the session's workers find this package, whatever folder the driver runs in.

    Nothing else of the session is touched. The zip stays on the context's list of files, which Spark cannot take back;
    it is named by its content, so that it is added once.

    Raises
    ------
    JobError
        For a session that the job cannot work with.
    """
    check_session(spark)
    archive = _archive()
    if archive.name in (spark.sparkContext._python_includes or []):
        return
    path = list(sys.path)
    spark.sparkContext.addPyFile(str(archive))
    sys.path[:] = path  # addPyFile puts the zip before the package that is running


@cache
def _archive() -> Path:
    """Return a zip of this package: the one it was loaded from, or a new one named by its content."""
    package = Path(__file__).parents[1]
    if package.parent.is_file():
        return package.parent
    content = zip_package(package)
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder = Path(tempfile.mkdtemp(prefix="fruits-"))
    # Executors that join later fetch it from here, so it stays for as long as this process.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"job-{digest}.zip"
    path.write_bytes(content)
    return path


def zip_package(folder: Path) -> bytes:
    """Return a zip of a package; the same files give the same bytes, whatever their dates and whoever reads them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # stored: another zlib would give other bytes
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder.parent)
            if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
                info = zipfile.ZipInfo(name.as_posix(), (2020, 1, 1, 0, 0, 0))
                info.create_system, info.external_attr = 3, 0o644 << 16  # Unix
                archive.writestr(info, path.read_bytes())
    return content.getvalue()


def parallelism(spark: "SparkSession") -> int:
    """Return how many tasks the session can run at once, counting executors it may still ask for."""
    conf = spark.sparkContext.getConf()
    now = spark.sparkContext.defaultParallelism
    most = conf.get("spark.dynamicAllocation.maxExecutors")
    cores = conf.get("spark.executor.cores")
    if conf.get("spark.dynamicAllocation.enabled", "false") == "true" and most and cores:
        return max(now, int(most) * int(cores))
    return now


def retries(spark: "SparkSession") -> bool:
    """Tell whether the session tries a task again that has failed: `local[*]` does not, `local[*,4]` does."""
    master = str(spark.sparkContext.master)
    if re.fullmatch(r"local(\[[^,\]]*\])?", master):
        return False
    told = re.fullmatch(r"local\[[^,\]]*,\s*(\d+)\s*\]", master)
    return int(told[1] if told else spark.sparkContext.getConf().get("spark.task.maxFailures", "4") or 4) > 1

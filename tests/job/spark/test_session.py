"""The Spark session: which Java, which sessions are refused, how tasks are run and their errors told."""

import os
import sys
import threading
import time
from pathlib import Path

import pyspark
import pytest
from pyspark import SparkConf
from pyspark.sql import SparkSession

from job.command_line import Log
from job.errors import JobError, RunError
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.java import find_java, java_version
from job.spark.session import local_session
from job.spark.shipping import check_session, ship
from job.spark.tasks import run_tasks


def java(path: Path, words: str, status: int = 0) -> Path:
    """Write a program that says what a `java -version` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ('openjdk version "17.0.9" 2023-10-17\nOpenJDK Runtime Environment', 17),
        ('java version "21" 2023-09-19 LTS', 21),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "17.0.1" 2021-10-19', 17),
        ("The operation couldn’t be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_version_of_a_java_is_its_major_number(tmp_path: Path, words: str, version: int | None) -> None:
    assert java_version(java(tmp_path / "java", words)) == version


def test_what_cannot_be_run_is_no_java(tmp_path: Path) -> None:
    assert java_version(tmp_path / "absent") is None
    (tmp_path / "plain").write_text('version "17"')
    assert java_version(tmp_path / "plain") is None
    (tmp_path / "binary").write_bytes(b"\x7fELF rubbish")
    (tmp_path / "binary").chmod(0o755)
    assert java_version(tmp_path / "binary") is None


def test_java_home_counts_before_the_path_and_wrong_versions_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java(tmp_path / "home" / "bin" / "java", 'version "21"')
    java(tmp_path / "old" / "bin" / "java", 'version "11"')
    java(tmp_path / "path" / "bin" / "java", 'version "17"')
    java(tmp_path / "mac" / "Contents" / "Home" / "bin" / "java", 'version "17"')
    monkeypatch.setenv("PATH", f"{tmp_path}/path/bin:/usr/bin:/bin")
    for home, expected in (("home", "home"), ("old", "path"), ("absent", "path"), ("mac", "mac/Contents/Home")):
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / home))
        assert find_java() == tmp_path / expected
    monkeypatch.delenv("JAVA_HOME")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(tmp_path / "path" / "bin" / "java")
    monkeypatch.setenv("PATH", f"{tmp_path}/links:/usr/bin:/bin")
    assert find_java() == tmp_path / "path"


def test_without_a_java_one_line_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    with (
        pytest.raises(JobError, match=r"^Spark needs Java 17 or 21 and none was found; .*apt-get install .*JAVA_HOME"),
        local_session(Settings(), Log(tmp_path / "log"), java_finder=lambda: None),  # this machine has one
    ):
        pass
    assert not (tmp_path / "log").exists()


def test_the_local_session_suits_a_laptop(spark: SparkSession) -> None:
    context = spark.sparkContext
    assert context.getConf().get("spark.driver.host") == "127.0.0.1"
    assert context.uiWebUrl is None
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    check_session(spark)
    assert parallelism(spark) == 2


def test_what_is_no_session_of_the_right_kind_is_refused(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})()
    with pytest.raises(JobError, match=r"^a classic SparkSession is needed; Spark Connect sessions have no workers"):
        check_session(connected)
    for other, kind in ((None, "builtins.NoneType"), ("local", "builtins.str")):
        with pytest.raises(JobError, match=rf"^a classic SparkSession is needed; this is a {kind}$"):
            check_session(other)
    with pytest.raises(
        JobError, match=r"^a classic SparkSession is needed; this is a pyspark.core.context.SparkContext$"
    ):
        check_session(spark.sparkContext)
    with monkeypatch.context() as patch:
        patch.setattr(spark.sparkContext, "_jsc", None)  # as stop() leaves it
        with pytest.raises(JobError, match=r"^the Spark session was stopped; make a new one$"):
            check_session(spark)
    with monkeypatch.context() as patch:
        patch.setattr(pyspark, "__version__", "4.0.1")
        with pytest.raises(
            JobError, match=r"^the session runs Spark 4\.1\.1 with pyspark 4\.0\.1; the job needs Spark 4 and"
        ):
            ship(spark)


def test_executors_that_may_still_come_count(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**options: str) -> int:
        conf = SparkConf(loadDefaults=False).setAll([(f"spark.{k.replace('_', '.')}", v) for k, v in options.items()])
        with monkeypatch.context() as patch:
            patch.setattr(spark.sparkContext, "getConf", lambda: conf)
            return parallelism(spark)

    most = {"dynamicAllocation_maxExecutors": "10", "executor_cores": "4"}
    assert told(dynamicAllocation_enabled="true", **most) == 40
    assert told(dynamicAllocation_enabled="false", **most) == 2
    assert told(dynamicAllocation_enabled="true") == 2


def test_shipping_twice_adds_one_archive_and_leaves_the_import_path(spark: SparkSession) -> None:
    path = list(sys.path)
    ship(spark)
    ship(spark)
    assert sys.path == path
    shipped = [name for name in spark.sparkContext._python_includes or [] if name.startswith("job-")]
    assert len(shipped) == 1


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


def test_what_is_done_is_told_with_its_weight(spark: SparkSession) -> None:
    told: list[int] = []
    threads = threading.active_count()
    run_tasks(spark, lambda item: item, [10, 20, 30], told.append, weight=lambda item: item)
    assert told[-1] == 60
    assert told == sorted(told)
    assert set(told) <= {0, 10, 20, 30, 40, 50, 60}
    assert threading.active_count() <= threads + 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("the 3rd picture: bad"), "a task failed: ValueError: the 3rd picture: bad"),
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
def test_an_error_in_a_task_is_told_in_one_line_of_its_own_words(
    spark: SparkSession, error: Exception, words: str
) -> None:
    ship(spark)

    def fail(item: int) -> int:
        raise error

    with pytest.raises(RunError) as caught:
        run_tasks(spark, fail, [1])
    assert str(caught.value) == words

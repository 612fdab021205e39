"""The driver's log: whatever an object of the log bucket may look like, each line of the job is shown once."""

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job.__main__ import print_results
from job.command_line import Log
from job.settings import Settings
from submit.emr_serverless import ServerlessRuns
from submit.logs import LAST_LINES, DriverLog, own_lines, unzip
from tests.job.results.run_records import run_record
from tests.submit.conftest import Cloud
from tests.submit.emr import APPLICATION

CHATTER = """\
Picked up JAVA_TOOL_OPTIONS: -Dx=y
26/11/25 01:02:03 INFO SparkContext: Running Spark version 4.1.1
2026-11-25T01:02:03.123Z main WARN Something else
WARNING: Using incubator modules: jdk.incubator.vector
OpenJDK 64-Bit Server VM warning: sharing is off
Using Spark's default log4j profile: org/apache/spark/log4j2-defaults.properties
Setting default log level to "WARN".
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
26/11/25 01:02:04 WARN TaskSetManager: Lost task 0.0 in stage 1.0
org.apache.spark.SparkException: task failed
\tat org.apache.spark.Task.run(Task.scala:1)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.io.IOException: no
\t... 12 more

[Stage 3:>      (0 + 1) / 1]
"""
OWN = [
    "images  s3://images/archive",
    "1,234 images listed, 0 of them known, 1,234 new",
    "features: 600 of 1,234 images, 212 a second, 3 s left",
    "PCA: 50 components hold 0.912 of the variance of 1,230 images",
    "Traceback (most recent call last):",
    '  File "entry.py", line 5, in <module>',
    "ModuleNotFoundError: No module named 'job'",
    "error: s3://images/archive holds no images",
]


def log_of(cloud: Cloud, run_id: str = "00run") -> DriverLog:
    return ServerlessRuns(None, APPLICATION, cloud.outputs["Logs"]).log(cloud.s3, run_id)


def test_only_the_jobs_own_lines_are_shown() -> None:
    mixed = "\n".join(f"{line}\n{CHATTER}" for line in OWN)
    assert own_lines(mixed.encode()) == OWN


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert own_lines(b"caf\xe9 \x1b[31mred\n") == ["caf\\xe9 \\x1b[31mred"]
    assert own_lines("pommes séchées/1.jpg".encode()) == ["pommes séchées/1.jpg"]


@pytest.mark.parametrize("cut", [1, 10, 20, 40, 60])
def test_a_truncated_gzip_gives_what_it_has(cut: int) -> None:
    text = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(50))
    assert text.startswith(unzip(gzip.compress(text)[:-cut]))
    assert unzip(gzip.compress(text)[:-8]) == text  # what follows is only a sum to check by
    assert len(unzip(gzip.compress(text)[:-60])) > len(text) / 2
    assert unzip(gzip.compress(text) + gzip.compress(b"more")) == text + b"more"
    assert unzip(gzip.compress(text) + b"spoilt") == text
    assert unzip(b"") == b""


def test_a_log_that_grows_is_shown_line_by_line(cloud: Cloud) -> None:
    log = log_of(cloud)
    assert log.look() == []  # not there yet
    cloud.log("00run", "a\nb\nunfini")
    assert log.look() == ["a", "b"]
    assert log.look() == []
    cloud.log("00run", "a\nb\nunfinished\nc\n")
    assert log.look() == ["unfinished", "c"]
    cloud.log("00run", "result", "SPARK_DRIVER/stdout.gz")
    assert log.look() == []
    assert log.look(ended=True) == ["result"]
    assert log.look(ended=True) == []


def test_a_log_is_not_fetched_again_where_it_has_not_changed(cloud: Cloud) -> None:
    log, fetched = log_of(cloud), []
    cloud.s3.meta.events.register("before-call.s3.GetObject", lambda **_: fetched.append(1))
    cloud.log("00run", "a\n")
    for _ in range(3):
        log.look()
    assert len(fetched) == 1


def test_a_file_cut_short_for_a_moment_does_not_repeat_what_was_shown(cloud: Cloud) -> None:
    log = log_of(cloud)
    cloud.log("00run", "a\nb\nc\n")
    assert log.look() == ["a", "b", "c"]
    cloud.log("00run", "a\n")
    assert log.look() == []
    cloud.log("00run", "a\nb\nc\nd\n")
    assert log.look() == ["d"]


def test_a_log_that_is_rotated_goes_on(cloud: Cloud) -> None:
    log = log_of(cloud)
    cloud.log("00run", "a\nb\n")
    assert log.look() == ["a", "b"]
    cloud.log("00run", "b\nc\n")  # the beginning has gone
    assert log.look() == ["c"]
    cloud.log("00run", "d\ne\n")  # all of it is new
    assert log.look() == ["d", "e"]
    # Moved aside under a name that begins the same, the new file beside it.
    cloud.log("00run", "d\ne\nf\n", "SPARK_DRIVER/stderr_2026.gz")
    time.sleep(1.1)  # S3's times are whole seconds
    cloud.log("00run", "g\n")
    assert log.look() == ["f", "g"]


def test_each_attempt_has_a_log_of_its_own(cloud: Cloud) -> None:
    log = log_of(cloud)
    cloud.log("00run", "error: first\n")
    assert log.look() == ["error: first"]
    cloud.log("00run", "error: first\n", "attempts/2/SPARK_DRIVER/stderr.gz")
    cloud.log("00run", "of an executor\n", "attempts/2/SPARK_EXECUTOR/1/stderr.gz")
    cloud.log("00run", "of an executor\n", "SPARK_EXECUTOR/1/stderr.gz")
    assert log.look(1) == []
    assert log.look(2) == ["error: first"]


def test_why_it_failed_is_the_latest_error_of_the_job(cloud: Cloud) -> None:
    log = log_of(cloud)
    assert log.why() == []
    cloud.log("00run", "images x\nTraceback:\n  line\nModuleNotFoundError: No module named 'job'\n" + CHATTER)
    log.look()
    assert log.why() == ["images x", "Traceback:", "  line", "ModuleNotFoundError: No module named 'job'"]
    cloud.log("00run", "images x\nerror: no images\n" + CHATTER, "attempts/2/SPARK_DRIVER/stderr.gz")
    log.look(2)
    assert log.why() == ["error: no images"]
    # spark-submit hands on what Python writes to either stream as standard output.
    cloud.log("00run", "images x\nerror: --limit 0 is out of range\n", "attempts/3/SPARK_DRIVER/stdout.gz")
    cloud.log("00run", CHATTER + "Job failed\n", "attempts/3/SPARK_DRIVER/stderr.gz")
    log.look(3)
    assert log.why() == ["error: --limit 0 is out of range"]


def test_the_jobs_last_words_are_those_that_are_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    failed = subprocess.run(
        [sys.executable, "-m", "job", "check", "--output", "/nowhere"], capture_output=True, text=True, check=False
    )
    assert failed.returncode
    assert failed.stderr.startswith(LAST_LINES["FAILED"])
    print_results(Settings(output="s3://bucket/results"), run_record(), Log(Path("run.log")), 1.5)
    assert any(line.startswith(LAST_LINES["SUCCESS"]) for line in capsys.readouterr().out.splitlines())

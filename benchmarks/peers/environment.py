"""The peers' Python, .venv-bench: a module and its arguments in, what it prints out."""

import os
import subprocess
from pathlib import Path

from benchmarks.harness import die
from job.spark.java import find_java

PYTHON = Path(".venv-bench/bin/python")


def environment() -> dict[str, str]:
    """Return the environment that the peers run in: Java for Spark, no telemetry."""
    if not PYTHON.exists():
        die("the peers' packages are not there; install them with: make .venv-bench/all")
    spark = {"JAVA_HOME": str(find_java()), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(PYTHON.absolute())}
    silent = {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | spark | silent


def call(module: str, *arguments: object) -> str:
    """Run a module in .venv-bench and return what it prints; if it fails, the benchmark ends with its last lines."""
    command = [str(PYTHON), "-m", module, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        die(f"{module} has failed:\n{done.stderr[-3000:]}")
    return done.stdout

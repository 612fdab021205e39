"""Commands on an output that another run holds: each is refused before Spark starts."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession

from job.__main__ import main
from job.command_line import Log
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from job.storage.lock import locked
from tests.conftest import make_images


@pytest.fixture(scope="module")
def settings(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Settings:
    """Return the settings of an output that has results."""
    folder = tmp_path_factory.mktemp("held")
    images = make_images(folder / "images", {"apple": 4, "cherry": 4})
    made = Settings(images=str(images), model=str(tiny_model), output=str(folder / "out"), components=2, report=False)
    featurize(spark, made)
    reduce(spark, made)
    return made


@contextmanager
def held(output: str) -> Iterator[None]:
    """Have another thread hold an output, as another run would."""
    holds, over = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(output):
            holds.set()
            over.wait()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(hold)
        holds.wait()
        try:
            yield
        finally:
            over.set()
            done.result()


def no_session(settings: Settings, log: Log) -> NoReturn:
    raise AssertionError("a session was opened")


@pytest.mark.parametrize("command", ["run", "featurize", "reduce", "report", "check", "prune"])
def test_each_command_is_refused_before_spark_where_another_run_holds_the_output(
    settings: Settings, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    arguments = [command, "--output", settings.output]
    if command in {"run", "featurize"}:
        arguments += ["--images", settings.images, "--model", settings.model]
    before = {path: path.stat().st_mtime_ns for path in Path(settings.output).rglob("*") if "logs" not in path.parts}
    with held(settings.output):
        assert main(arguments, no_session) == 2
    assert f"another run is writing to {settings.output}; wait for it to end" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in Path(settings.output).rglob("*") if "logs" not in path.parts}
    assert after == before

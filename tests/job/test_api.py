"""The Python API from a notebook: a session of the user's own, any working directory."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from job.errors import JobError
from job.settings import Settings
from job.spark.shipping import check_session
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from tests.conftest import make_images

ROOT = Path(__file__).resolve().parents[2]

NOTEBOOK = """
import sys
sys.path.append({root!r})  # as if installed: the workers know nothing of it
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()

from job.stages.featurize import featurize
from job.stages.reduce import reduce
from job.settings import Settings
from job.features.table import read_features

settings = Settings(images={images!r}, model={model!r}, output="results", components=2)
featurize(spark, settings)
reduce(spark, settings)
print("ROWS", len(read_features("results").to_pandas()), spark.range(7).count())
"""


@pytest.mark.spark
def test_a_notebook_elsewhere_with_a_session_of_its_own(tmp_path: Path, tiny_model: Path) -> None:
    images = make_images(tmp_path / "images", {"apple": 9})
    program = NOTEBOOK.format(root=str(ROOT), images=str(images), model=str(tiny_model))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "ROWS 9 7" in done.stdout, done.stderr


def test_a_borrowed_session_is_left_as_it_was_found(spark: SparkSession, tmp_path: Path, tiny_model: Path) -> None:
    def state() -> tuple[object, ...]:
        context = spark.sparkContext
        return (
            sorted(str(line) for line in spark.sql("SET").collect()),
            sorted(context.getConf().getAll()),
            list(sys.path),
            Path.cwd(),
            sorted(table.name for table in spark.catalog.listTables()),
            context.getLocalProperty("spark.jobGroup.id"),
            context.getLocalProperty("spark.job.description"),
            context._jsc.sc().getPersistentRDDs().size(),
        )

    images = make_images(tmp_path / "images", {"apple": 9})
    before = state()
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"), components=2)
    featurize(spark, settings)
    reduce(spark, settings)
    assert state() == before
    assert spark.range(3).count() == 3


class EarlierSession(SparkSession):
    """A session of the JVM of another one, which says that it runs an earlier Spark."""

    version = "3.5.1"

    def __init__(self, session: SparkSession) -> None:
        self._sc = session.sparkContext


def test_other_sessions_are_refused_clearly(spark: SparkSession) -> None:
    with pytest.raises(JobError, match="a classic SparkSession is needed"):
        check_session(SimpleNamespace(version="4.1.1"))
    with pytest.raises(JobError, match=r"the session runs Spark 3\.5\.1 with pyspark 4\.1\.1; the job needs Spark 4"):
        check_session(EarlierSession(spark))


def test_spark_connect_is_refused_by_its_name() -> None:
    connect = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})()
    with pytest.raises(JobError, match="Spark Connect sessions have no workers"):
        check_session(connect)

"""The Spark session of a command: it suits a laptop, and says in one line what it lacks."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from job.command_line import Log
from job.errors import JobError
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.session import local_session
from job.spark.shipping import check_session


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

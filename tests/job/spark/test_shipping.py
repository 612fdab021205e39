"""Sessions that are refused, and the package that the others are given."""

import sys

import pyspark
import pytest
from pyspark.sql import SparkSession

from job.errors import JobError
from job.spark.shipping import check_session, ship


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


def test_shipping_twice_adds_one_archive_and_leaves_the_import_path(spark: SparkSession) -> None:
    path = list(sys.path)
    ship(spark)
    ship(spark)
    assert sys.path == path
    shipped = [name for name in spark.sparkContext._python_includes or [] if name.startswith("job-")]
    assert len(shipped) == 1

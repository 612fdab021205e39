"""The current results, read by name: those of the run that run.json names, and of no other."""

import re
from pathlib import Path

import boto3
import pyarrow as pa
import pytest

from job.errors import JobError
from job.results.run_record import ResultFolders, write_run
from job.results.tables import RESULTS_SCHEMA, read_results
from tests.job.results.parts import ROWS, output, rows
from tests.job.results.run_records import run_record

__all__ = ["output"]


def test_they_are_an_arrow_table_of_the_current_run_alone(output: Path) -> None:
    table = read_results(str(output))
    assert isinstance(table, pa.Table)
    assert table.schema == RESULTS_SCHEMA
    assert rows(table) == sorted(ROWS)


def test_they_are_read_from_a_bucket(output: Path, bucket: str) -> None:
    client = boto3.client("s3")
    for path in output.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"results/{path.relative_to(output)}")
    assert rows(read_results(f"s3://{bucket}/results")) == sorted(ROWS)


def test_an_output_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=rf"^no results in {tmp_path}; make them with: python -m job reduce --output "):
        read_results(str(tmp_path))


def test_results_that_are_gone_are_refused(output: Path) -> None:
    write_run(str(output), run_record(results=ResultFolders.of_run("another")))
    gone = re.escape(str(output / "pca_results" / "run=another"))
    with pytest.raises(JobError, match=rf"^the results in {gone} are gone; python -m job reduce computes them again$"):
        read_results(str(output))


def test_a_damaged_part_is_named(output: Path) -> None:
    part = output / run_record().results.pca_results / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(
        JobError, match=rf"^{re.escape(str(part))} cannot be read \(.+\); python -m job reduce "
    ) as error:
        read_results(str(output))
    assert "\n" not in str(error.value)

"""The table of labels, where run.json does not hold them."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from job.features.snapshot import RowMask
from job.results.label_table import largest_labels, write_label_table
from job.results.run_record import ResultFolders
from job.spark.shipping import ship
from tests.job.features.stores import snapshot, write_mask, write_wave
from tests.job.results.run_records import run_record


def test_a_table_counts_the_current_images_by_label_largest_first(spark: SparkSession, tmp_path: Path) -> None:
    ship(spark)
    (first, second) = write_wave(str(tmp_path), "20250101T000000-abcdef", 5, 7)
    rows = [(second.name, 0, None), (second.name, 3, "pear"), (second.name, 4, "pear"), (second.name, 6, "fig")]
    mask = write_mask(str(tmp_path), "work/mask.parquet", rows)
    label = "20250101T000000-abcdef-0"
    run = replace(run_record(), labels=None, results=ResultFolders.of_run("r-1", label_table=True))
    folder = tmp_path / "label_counts" / "run=r-1"
    write_label_table(spark, str(tmp_path), snapshot(RowMask.whole(first), RowMask(second, mask, 4)), str(folder))
    found = pq.read_table(folder).to_pylist()
    assert {row["label"]: row["images"] for row in found} == {label: 5, "pear": 2, "fig": 1, "": 1}
    assert largest_labels(str(tmp_path), run, 3) == ([(label, 5), ("pear", 2), ("", 1)], 4)
    assert largest_labels(str(tmp_path), run, 9) == ([(label, 5), ("pear", 2), ("", 1), ("fig", 1)], 4)


def test_the_labels_of_a_record_are_ordered_alike(tmp_path: Path) -> None:
    run = replace(run_record(), labels={"b": 2, "": 9, "a": 2})
    assert largest_labels(str(tmp_path), run, 2) == ([("", 9), ("a", 2)], 3)

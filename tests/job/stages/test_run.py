"""The main job on a session that exists: what is inferred, what is reused, what is written."""

import colorsys
import csv
import io
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from job.errors import JobError, RunError
from job.features.snapshot import Counts, read_snapshot, write_snapshot
from job.features.table import read_features
from job.features.wave_plan import Pace
from job.images.label_counts import LabelDigest
from job.pca.basis_file import read_basis, write_basis
from job.progress import Progress
from job.results.run_record import RunRecord
from job.settings import Settings
from job.stages.check import check
from job.stages.featurize import featurize
from job.stages.prune import prune
from job.stages.reduce import reduce
from tests.conftest import make_images, run_json
from tests.tiny_model import make_tiny_model

LABELS = {"apple": 12, "banana": 9, "cherry": 15}


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> Settings:
    images = make_images(tmp_path / "images", LABELS)
    return Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"), components=5)


def run(spark: SparkSession, settings: Settings) -> RunRecord:
    featurize(spark, settings)
    return reduce(spark, settings)


def features(settings: Settings) -> dict[str, bytes]:
    """Return each current image's features, as bytes, by path."""
    table = read_features(settings.output)
    assert isinstance(table, pa.Table)
    rows = table.to_pandas()
    assert rows["path"].is_unique
    return {row.path: np.asarray(row.features).tobytes() for row in rows[rows["status"] == "ok"].itertuples()}


def matrix(settings: Settings) -> pd.DataFrame:
    return pd.read_csv(Path(settings.output, "pca_matrix.csv"), sep=";")


def test_every_image_gets_one_row_with_its_label_and_the_files_agree(spark: SparkSession, settings: Settings) -> None:
    result = run(spark, settings)
    output = Path(settings.output)
    assert result.to_json() == run_json(output)
    assert result.counts == Counts(listed=36, reused=0, new=36, ok=36, rejected=0)
    assert result.labels == LABELS
    assert set(result.validation.values()) == {"ok"}
    assert len(result.explained_variance_ratio) == result.components == 5

    answer = pd.read_parquet(output / "pca_results")
    assert answer.groupby("label").size().to_dict() == LABELS
    assert {len(vector) for vector in answer["pca_features"]} == {5}
    listed = sorted(str(path) for path in Path(settings.images).rglob("*.jpg"))
    assert sorted(answer["path"]) == listed

    table = matrix(settings)
    assert list(table.columns) == ["path", "label", "pca_1", "pca_2", "pca_3", "pca_4", "pca_5"]
    assert list(table["path"]) == listed
    in_order = np.stack(list(answer.set_index("path").loc[listed, "pca_features"]))
    assert np.array_equal(table.filter(like="pca_").to_numpy(np.float32), in_order)
    assert (output / "rejected.csv").read_text() == "path;reason;error\n"


def test_results_are_the_centred_projection_of_the_features(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    table = read_features(settings.output)
    assert isinstance(table, pa.Table)
    frame = table.to_pandas().sort_values("path")
    vectors = np.stack(list(frame["features"])).astype(np.float64)
    # The singular value decomposition of the centred vectors, another road to the same coordinates.
    u, s, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    ours = matrix(settings).filter(like="pca_").to_numpy()
    assert np.allclose(np.abs(ours), np.abs(u[:, :5] * s[:5]), atol=1e-6 * np.abs(ours).max())


def test_colours_are_those_of_the_images(spark: SparkSession, settings: Settings) -> None:
    featurize(spark, settings)
    table = read_features(settings.output)
    assert isinstance(table, pa.Table)
    for row in table.to_pandas().itertuples():
        square = Image.open(row.path).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        expected = np.zeros(160)
        for pixel in np.asarray(square).reshape(-1, 3).tolist():
            hue, saturation, value = colorsys.rgb_to_hsv(*(sample / 255 for sample in pixel))
            expected[4 * (round(32 * hue) % 32) + min(int(4 * saturation), 3)] += 1 / 1024
            expected[128 + min(int(32 * value), 31)] += 1 / 1024
        # What is rounded before goes to the colour beside its own.
        assert np.abs(row.colours - expected).sum() < 0.4


def test_second_run_infers_nothing_and_gives_the_same(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    first, coordinates = features(settings), matrix(settings)
    result = run(spark, settings)
    assert result.counts == Counts(listed=36, reused=36, new=0, ok=36, rejected=0)
    assert features(settings) == first
    again = matrix(settings)
    assert list(again["path"]) == list(coordinates["path"])
    numbers = coordinates.filter(like="pca_").to_numpy()
    assert np.allclose(again.filter(like="pca_").to_numpy(), numbers, rtol=0, atol=1e-6 * np.abs(numbers).max())
    # Only one run's parts are left, so a plain reader sees each image once.
    assert len(pd.read_parquet(Path(settings.output, "pca_results"))) == 36


def test_one_added_one_changed_one_removed(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    before = features(settings)
    images = Path(settings.images)
    added = images / "banana" / "new.jpg"
    changed = images / "apple" / "003.jpg"
    removed = images / "cherry" / "007.jpg"
    shutil.copy(images / "cherry" / "001.jpg", added)
    shutil.copy(images / "cherry" / "002.jpg", changed)
    removed.unlink()
    result = run(spark, settings)
    assert result.counts == Counts(listed=36, reused=34, new=2, ok=36, rejected=0)
    after = features(settings)
    assert set(after) == set(before) - {str(removed)} | {str(added)}
    assert {path for path in after if after[path] != before.get(path)} == {str(added), str(changed)}
    assert after[str(changed)] == before[str(images / "cherry" / "002.jpg")]
    assert set(pd.read_parquet(Path(settings.output, "pca_results"))["path"]) == set(after)


def test_an_image_only_touched_is_inferred_again_to_the_same(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    before = features(settings)
    os.utime(Path(settings.images, "apple", "000.jpg"), (1, 1))
    assert run(spark, settings).counts.new == 1
    assert features(settings) == before


def test_another_model_infers_all_again_and_mixes_nothing(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    first = run(spark, settings)
    before = features(settings)
    other = replace(settings, model=str(make_tiny_model(tmp_path / "other", seed=2)))
    second = run(spark, other)
    assert second.counts.new == 36
    assert second.fingerprint != first.fingerprint
    after = features(other)
    assert all(after[path] != before[path] for path in before)
    # And back: the first model's features are still there.
    assert run(spark, settings).counts.new == 0
    assert features(settings) == before
    kept = json.loads(Path(settings.output, "model", "model.json").read_text())
    assert kept["tflite_sha256"] == first.model.sha256


def test_another_mode_or_pixel_limit_is_noticed(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    assert run(spark, replace(settings, mode="exact")).counts.new == 36
    assert featurize(spark, replace(settings, max_pixels=1000)).counts.rejected == 36


def test_what_cannot_be_used_is_a_rejected_row(spark: SparkSession, settings: Settings) -> None:
    images = Path(settings.images)
    (images / "apple" / "empty.jpg").write_bytes(b"")
    (images / "apple" / "=text.jpg").write_text("no image")
    whole = (images / "apple" / "000.jpg").read_bytes()
    (images / "banana" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    result = run(spark, settings)
    assert result.counts == Counts(listed=39, reused=0, new=39, ok=36, rejected=3)
    with Path(settings.output, "rejected.csv").open(newline="") as file:
        rows = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file, delimiter=";")}
    assert rows == {"empty.jpg": "zero bytes", "=text.jpg": "not an image", "half.jpg": "truncated"}
    assert len(pd.read_parquet(Path(settings.output, "pca_results"))) == 36
    # Known rejections are not tried again.
    assert run(spark, settings).counts == Counts(listed=39, reused=39, new=0, ok=36, rejected=3)


def test_all_rejected_fails_in_words(spark: SparkSession, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(3):
        (tmp_path / "images" / f"{index}.jpg").write_text("no")
    settings = Settings(images=str(tmp_path / "images"), model=str(tiny_model), output=str(tmp_path / "out"))
    featurize(spark, settings)
    with pytest.raises(RunError, match="no image can be used; rejected: 3 not an image"):
        reduce(spark, settings)
    assert not (tmp_path / "out" / "run.json").exists()
    assert not list((tmp_path / "out").glob("pca_*/*"))


def test_variance_keeps_the_fewest_components_that_hold_it(spark: SparkSession, settings: Settings) -> None:
    result = run(spark, replace(settings, components=None, variance=0.9))
    shares = np.cumsum(result.explained_variance_ratio)
    assert shares[-1] >= 0.9 > (shares[-2] if len(shares) > 1 else 0)


def test_more_components_than_there_are_gives_fewer(spark: SparkSession, settings: Settings) -> None:
    result = run(spark, replace(settings, components=None))  # 50 of 16 features
    assert result.components == 16
    with pytest.raises(JobError, match="--components 17 is out of range: the model gives 16 features"):
        reduce(spark, replace(settings, components=17))


def test_a_saved_basis_keeps_coordinates_comparable(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    run(spark, settings)
    before = matrix(settings).set_index("path")
    extra = make_images(tmp_path / "more", {"damson": 20})
    shutil.copytree(extra / "damson", Path(settings.images, "damson"))
    kept = replace(settings, components=None, pca_model=settings.output)
    result = run(spark, kept)
    assert result.pca_fitted_to == 36
    after = matrix(settings).set_index("path")
    assert len(after) == 56
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_a_basis_of_another_model_is_refused(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    run(spark, settings)
    other = replace(
        settings,
        model=str(make_tiny_model(tmp_path / "other", seed=2)),
        output=str(tmp_path / "out2"),
        components=None,
        pca_model=settings.output,
    )
    featurize(spark, other)
    with pytest.raises(JobError, match="another model, decoder or mode"):
        reduce(spark, other)


def test_fewer_images_listed_drop_out_and_come_back(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    before = features(settings)
    assert run(spark, replace(settings, limit=10)).counts == Counts(listed=10, reused=10, new=0, ok=10, rejected=0)
    assert len(features(settings)) == 10
    apples = replace(settings, images=str(Path(settings.images, "apple")))
    # Seen from their own folder they have no label, though the store knew one.
    assert run(spark, apples).labels == {"": 12}
    table = read_features(settings.output)
    assert isinstance(table, pa.Table)
    assert table.column("label").null_count == table.num_rows == 12
    assert run(spark, settings).counts.new == 0
    assert features(settings) == before


def test_no_csv_leaves_no_stale_one(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    reduce(spark, replace(settings, csv=False))
    assert not Path(settings.output, "pca_matrix.csv").exists()


def test_a_large_matrix_is_written_as_csv_only_when_asked_for(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(settings, report=False)
    target = Path(settings.output, "pca_matrix.csv")
    run(spark, settings)
    assert reduce(spark, settings, Progress(sys.stderr), matrix_rows=35).settings.csv is False
    assert "pca_matrix.csv is left out: it would have more than 35 rows; --csv writes it" in capsys.readouterr().err
    assert not target.exists()
    assert check(spark, settings) == []
    assert reduce(spark, replace(settings, csv=True), matrix_rows=35).settings.csv is True
    assert target.exists()
    target.unlink()
    assert reduce(spark, settings, matrix_rows=36).settings.csv is True
    assert target.exists()


def test_labels_that_are_too_many_for_run_json_are_in_a_table(spark: SparkSession, settings: Settings) -> None:
    output = Path(settings.output)
    snapshot = featurize(spark, settings)
    write_snapshot(settings.output, replace(snapshot, labels=None))
    for _ in range(2):
        record = reduce(spark, settings)
        assert run_json(output)["labels"] is None
        table = pd.read_parquet(output / run_json(output)["results"]["label_counts"])
        assert dict(zip(table["label"], table["images"], strict=True)) == LABELS
        assert record.results.label_counts == f"label_counts/run={record.run}"
        assert check(spark, settings) == []
    assert "cherry" in (output / "report.html").read_text()
    write_snapshot(settings.output, replace(snapshot, label_digest=LabelDigest.of({"apple": 36})))
    with pytest.raises(RunError, match="features labels: the labels of 36 images are not those of the 36 expected"):
        reduce(spark, settings)
    # Its files are gone, and so are those of the run before the last.
    assert {path.name for path in (output / "label_counts").iterdir()} == {f"run={record.run}"}


def test_a_run_without_its_marker_does_not_count(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    before = features(settings)
    [marker] = Path(settings.output, "features").glob("model=*/wave=*/_COMMIT.json")
    marker.unlink()
    assert run(spark, settings).counts.new == 36
    assert features(settings) == before
    assert not marker.parent.exists()


def test_short_waves_commit_as_they_go(spark: SparkSession, settings: Settings) -> None:
    snapshot = featurize(spark, replace(settings, wave_seconds=1), pace=Pace(first_rate=4, wave_growth=0))
    waves = list(Path(settings.output, "features").glob("model=*/wave=*/_COMMIT.json"))
    assert len(waves) > 2
    assert sum(json.loads(marker.read_text())["rows"] for marker in waves) == 36
    assert snapshot.counts.ok == 36


def test_prune_deletes_what_is_not_current_and_nothing_else(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    run(spark, replace(settings, model=str(make_tiny_model(tmp_path / "other", seed=2))))
    run(spark, settings)
    for path in Path(settings.images, "cherry").glob("00[0-4].jpg"):
        path.unlink()
    run(spark, settings)
    before = features(settings)
    plan = prune(spark, replace(settings, dry_run=True))
    assert (plan.rows, len(plan.waves), len(plan.models)) == (5, 1, 1)
    assert len(list(Path(settings.output, "features").glob("model=*"))) == 2
    assert prune(spark, settings) == plan
    assert features(settings) == before
    stored = pd.read_parquet(Path(settings.output, "features"))
    assert sorted(stored["path"]) == sorted(before)
    assert run(spark, settings).counts == Counts(listed=31, reused=31, new=0, ok=31, rejected=0)
    assert prune(spark, settings).rows == 0


def test_small_files_are_merged_by_a_run_beyond_a_bound_and_by_prune(spark: SparkSession, settings: Settings) -> None:
    snapshot = featurize(spark, replace(settings, wave_seconds=1), pace=Pace(first_rate=4, wave_growth=0))
    count, before = len(snapshot.row_masks), features(settings)
    assert count > 2
    assert featurize(spark, settings, small_files=count).row_masks != ()
    said = io.StringIO()
    compacted = featurize(spark, settings, Progress(said), small_files=count - 1)
    assert f"merging {count} small features files into 1" in said.getvalue()
    assert [row_mask.rows for row_mask in compacted.row_masks] == [36]
    assert features(settings) == before
    assert sorted(pd.read_parquet(Path(settings.output, "features"))["path"]) == sorted(before)
    # Nothing is inferred again, and there is nothing left to merge.
    assert run(spark, settings).counts.reused == 36
    assert prune(spark, replace(settings, dry_run=True)).bundles == ()


def test_read_features_gives_spark_and_arrow_the_same(spark: SparkSession, settings: Settings) -> None:
    run(spark, settings)
    Path(settings.images, "apple", "000.jpg").unlink()
    run(spark, settings)
    arrow = read_features(settings.output)
    frame = read_features(settings.output, spark)
    assert isinstance(arrow, pa.Table)
    assert not isinstance(frame, pa.Table)
    collected = frame.toArrow().to_pandas().sort_values("path", ignore_index=True)
    expected = arrow.to_pandas().sort_values("path", ignore_index=True)
    assert list(collected.columns) == list(expected.columns)
    assert list(collected["path"]) == list(expected["path"])
    assert np.array_equal(np.stack(list(collected["features"])), np.stack(list(expected["features"])))


def test_features_are_refused_before_there_are_any(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no features in"):
        reduce(spark, Settings(output=str(tmp_path)))
    with pytest.raises(JobError, match="no features in"):
        read_snapshot(str(tmp_path))


def test_a_failed_reduction_leaves_the_old_results(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    run(spark, settings)
    before = {
        path: path.read_bytes() for path in Path(settings.output).rglob("*") if "pca" in str(path) and path.is_file()
    }
    said = Path(settings.output, "run.json").read_bytes()
    [saved] = Path(settings.output, "pca_model").glob("*/basis.npz")
    basis = read_basis(str(saved))
    write_basis(str(tmp_path / "bent" / "basis.npz"), replace(basis, components=basis.components * 1.5))
    with pytest.raises(RunError, match="basis orthonormal"):
        reduce(spark, replace(settings, components=None, pca_model=str(tmp_path / "bent")))
    assert all(path.read_bytes() == data for path, data in before.items())
    assert Path(settings.output, "run.json").read_bytes() == said
    assert len(list(Path(settings.output, "pca_results").iterdir())) == 1

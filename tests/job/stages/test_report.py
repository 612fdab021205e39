"""The report of real runs: what it counts, whether planted faults are found, and how it ends where there is little."""

import base64
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyspark.sql import SparkSession
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from bootstrap.model import ModelSpec, make
from job import storage
from job.curation.collection import Collection, read_part
from job.curation.draw import Draw
from job.curation.report_limits import ReportLimits
from job.errors import JobError, ReportError
from job.results.run_record import current_run
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from job.stages.report import check_report, report
from tests.conftest import make_images, run_json, shared
from tests.faulty_s3 import Fault, FaultyS3
from tests.job.images.listings import aws_in_workers

Run = Callable[[Settings], dict[str, Any]]


def data_of(output: Path) -> dict[str, Any]:
    """Return the data that a report shows, as a browser reads them."""
    page = (output / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="data">\s*(.*?)\s*</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def named_points(data: dict[str, Any]) -> set[int]:
    """Return the points that the lists of a report name."""
    shown = data["highlights"]
    points = [point for ends in shown["component_ends"] for point in (*ends["low"], *ends["high"])]
    points += [point for pair in shown["confusions"] for example in pair["examples"] for point in example]
    points += [point for pair in shown["near_duplicates"] for point in (pair["first"], pair["second"])]
    points += [finding["image"] for finding in (*shown["label_issues"], *shown["outliers"])]
    return set(points)


def coordinates(data: dict[str, Any]) -> np.ndarray:
    points = data["points"]
    values = np.frombuffer(base64.b64decode(points["coordinates"]), "<i2").reshape(-1, points["components"])
    scaled: np.ndarray = values * np.array(points["scale"])
    return scaled


@pytest.fixture
def run(spark: SparkSession) -> Run:
    def whole(settings: Settings) -> dict[str, Any]:
        featurize(spark, settings)
        reduce(spark, settings)
        return data_of(Path(settings.output))

    return whole


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> Settings:
    images = make_images(tmp_path / "images", {"apple": 12, "banana": 9, "cherry": 15})
    return Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"), components=5)


def test_it_counts_all_images(run: Run, settings: Settings) -> None:
    images = Path(settings.images)
    (images / "apple" / "bad.jpg").write_bytes(b"no image")
    (images / "apple" / "empty.jpg").touch()
    Image.new("RGB", (30, 20), "red").save(images / "banana" / "wide.png")
    data = run(settings)
    assert data["counts"] == {"listed": 39, "reused": 0, "new": 39, "ok": 37, "rejected": 2}
    assert data["labels"] == [["cherry", 15], ["apple", 14], ["banana", 10]]
    assert data["sizes"] == [[40, 40, 36], [30, 20, 1]]
    assert {rejected["reason"]: rejected["paths"] for rejected in data["rejections"]} == {
        "not an image": [str(images / "apple" / "bad.jpg")],
        "zero bytes": [str(images / "apple" / "empty.jpg")],
    }
    assert data["sample"] == {"usable": 37, "compared": 37, "shown": 37, "missing": 0}
    assert data["pca"]["asked"] == "5 components"
    assert data["run"]["seconds"].keys() >= {"list", "featurize", "pca"}
    assert run_json(Path(settings.output))["seconds"]["report"] > 0


def test_points_are_those_of_the_results_and_tiles_their_images(run: Run, settings: Settings) -> None:
    data = run(settings)
    table = pd.read_csv(Path(settings.output, "pca_matrix.csv"), sep=";")
    points = data["points"]
    assert [points["prefix"] + path for path in points["path"]] == table["path"].tolist()
    assert [points["names"][label] for label in points["label"]] == table["label"].tolist()
    expected = table.filter(like="pca_").to_numpy()
    np.testing.assert_allclose(coordinates(data), expected, atol=np.abs(expected).max() / 32767)
    low = data["highlights"]["component_ends"][0]["low"]
    assert low[0] == expected[:, 0].argmin()
    (sheet,) = data["tiles"]["sheets"]
    file = Path(settings.output, "sheet.jpg")
    file.write_bytes(base64.b64decode(sheet.partition(",")[2]))
    side, columns = data["tiles"]["side"], data["tiles"]["columns"]
    with Image.open(file) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    for point in (0, 17, 35):
        top, left = side * (point // columns), side * (point % columns)
        with Image.open(points["prefix"] + points["path"][point]) as original:
            small = np.asarray(original.convert("RGB").resize((side, side))).astype(int)
        assert np.abs(shown[top : top + side, left : left + side] - small).mean() < 8


@pytest.mark.parametrize("kind", ["three", "one label", "no label", "hostile"])
def test_little_or_odd_input_gives_a_report(run: Run, settings: Settings, tmp_path: Path, kind: str) -> None:
    images = tmp_path / "small"
    labels = {"three": {"apple": 2, "banana": 1}, "one label": {"apple": 5}, "no label": {"x": 4}}
    make_images(images, labels.get(kind, {"a": 3, "b": 3}))
    if kind == "no label":
        images = images / "x"
    if kind == "hostile":
        (images / "a").rename(images / "<script>alert(1)<")
        (images / "b").rename(images / "'\"&{{data}} \u05e9\u05dc\u05d5\u05dd")
    data = run(replace(settings, images=str(images), components=None))
    assert data["sample"]["shown"] == data["counts"]["ok"]
    if kind in {"one label", "no label"}:
        assert data["separation"] is None
        assert data["separation_note"]
    if kind == "hostile":
        assert {label for label, _ in data["labels"]} == {"<script>alert(1)<", "'\"&{{data}} \u05e9\u05dc\u05d5\u05dd"}
        assert "alert(1)<" not in Path(settings.output, "report.html").read_text()


def test_of_many_images_some_are_points_and_the_page_has_a_largest_size(
    run: Run, spark: SparkSession, settings: Settings
) -> None:
    run(settings)
    whole = Path(settings.output, "report.html").stat().st_size
    # The page shows what a list names, however few points there are to be.
    report(spark, settings, limits=ReportLimits(points=5))
    data = data_of(Path(settings.output))
    assert data["sample"]["usable"] == data["sample"]["compared"] == 36
    assert 5 <= data["sample"]["shown"] == max(5, len(named_points(data))) < 36
    report(spark, settings, limits=ReportLimits(page_bytes=whole - 100))
    assert data_of(Path(settings.output))["sample"]["shown"] < 36
    assert Path(settings.output, "report.html").stat().st_size < whole


def test_the_sample_is_the_same_for_every_number_of_tasks(run: Run, settings: Settings) -> None:
    run(settings)
    snapshot, _ = check_report(settings.output)
    expected = read_part(settings.output, 10, list(snapshot.row_masks)).draw.drawn()
    found = Collection(Draw(10))
    for row_mask in snapshot.row_masks:
        found.add(read_part(settings.output, 10, [row_mask]))
    assert len(expected) == 10
    assert found.draw.drawn() == expected


def test_images_that_are_gone_stay_gray(run: Run, spark: SparkSession, settings: Settings) -> None:
    run(settings)
    shutil.rmtree(Path(settings.images, "apple"))
    report(spark, settings)
    data = data_of(Path(settings.output))
    assert data["sample"] == {"usable": 36, "compared": 36, "shown": 36, "missing": 12}


def test_without_results_or_with_older_ones_it_says_what_to_do(
    run: Run, spark: SparkSession, settings: Settings
) -> None:
    featurize(spark, settings)
    with pytest.raises(JobError, match=r"no results in .* make them with: python -m job reduce"):
        report(spark, settings)
    reduce(spark, settings)
    featurize(spark, settings)
    with pytest.raises(JobError, match="newer than the results"):
        report(spark, settings)


def test_a_report_that_fails_costs_no_results(run: Run, spark: SparkSession, settings: Settings) -> None:
    run(settings)
    output = Path(settings.output)
    (output / "report.html").unlink()
    (output / "report.html" / "in the way").mkdir(parents=True)
    with pytest.raises(ReportError, match=r"are in place, but their report failed: .*; make it again with: python -m "):
        reduce(spark, replace(settings, components=2))
    record = current_run(settings.output)
    assert record.components == 2
    csv = pd.read_csv(output / "pca_matrix.csv", sep=";")
    assert list(csv.columns) == ["path", "label", "pca_1", "pca_2"]
    shown = pd.read_parquet(output / "pca_results")
    assert set(shown["run"]) == {record.run}
    assert sorted(shown["path"]) == list(csv["path"])
    assert not list(output.glob("report*"))


def test_no_report_leaves_none_of_other_results(run: Run, spark: SparkSession, settings: Settings) -> None:
    run(settings)
    reduce(spark, replace(settings, report=False))
    assert not list(Path(settings.output).glob("report*"))
    assert "report" not in run_json(Path(settings.output))["seconds"]


@pytest.fixture(scope="module")
def imagenet035(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = shared("weights/mobilenet_v2_0.35_224_no_top.weights.h5")
    folder = tmp_path_factory.mktemp("model") / "imagenet-035"
    make(ModelSpec(str(weights), 0.35, 224), folder)
    return folder


def test_planted_faults_are_found(run: Run, tmp_path: Path, fruits496: Path, imagenet035: Path) -> None:
    rng = random.Random(11)
    images = tmp_path / "images"
    shutil.copytree(fruits496, images)
    chosen = rng.sample(sorted(images.rglob("*.jpg")), 30)
    labels = sorted(path.name for path in images.iterdir())
    same, resaved = {}, {}
    for number, path in enumerate(chosen[20:25]):
        same[path.with_name(f"copy-{number}.jpg")] = path
        shutil.copyfile(path, path.with_name(f"copy-{number}.jpg"))
    for number, path in enumerate(chosen[25:]):
        resaved[path.with_name(f"saved-{number}.jpg")] = path
        with Image.open(path) as image:
            image.save(path.with_name(f"saved-{number}.jpg"), quality=90)
    swapped = set()
    for number, path in enumerate(chosen[:20]):
        other = rng.choice([label for label in labels if label != path.parent.name])
        swapped.add(path.rename(images / other / f"swapped-{number}.jpg"))
    foreign = set()
    for path in sorted(shared("data/photos").glob("*.jpg"))[:5]:
        foreign.add(Path(shutil.copyfile(path, images / labels[0] / path.name)))
    output = tmp_path / "out"
    data = run(Settings(images=str(images), model=str(imagenet035), output=str(output)))

    label_issues = pd.read_csv(output / "report_suspects.csv", sep=";")
    assert len(swapped & set(map(Path, label_issues["path"][:25]))) >= 18
    near_duplicates = pd.read_csv(output / "report_copies.csv", sep=";")
    pairs = [frozenset(map(Path, pair)) for pair in near_duplicates[["path", "other"]].to_numpy().tolist()]
    assert {frozenset(pair) for pair in same.items()} == set(pairs[: len(same)])
    assert len({frozenset(pair) for pair in resaved.items()} & set(pairs[:20])) >= 4
    outliers = pd.read_csv(output / "report_outliers.csv", sep=";")
    assert foreign <= set(map(Path, outliers["path"][:10]))

    table = pd.read_csv(output / "pca_matrix.csv", sep=";")
    vectors = table.filter(like="pca_").to_numpy()
    right = cross_val_score(KNeighborsClassifier(1), vectors, table["label"], cv=LeaveOneOut())
    assert data["separation"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert data["separation"]["images"] == len(table) == 511


def test_folders_that_may_not_be_listed_are_in_run_json_and_in_the_report(
    spark: SparkSession, run: Run, settings: Settings, faulty: FaultyS3, bucket: str
) -> None:
    root = f"s3://{bucket}/photos"
    for path in Path(settings.images).rglob("*.jpg"):
        storage.write(f"{root}/{path.parent.name}/{path.name}", path.read_bytes())
    faulty.rule = lambda request: Fault.DENIED if "prefix=photos%2Fapple%2F" in request.path else None
    with aws_in_workers(spark):
        data = run(replace(settings, images=root))
    assert data["counts"]["listed"] == 24
    assert data["unlisted_folders"] == {"count": 1, "names": [f"{root}/apple"]}
    assert run_json(Path(settings.output))["unlisted_folders"] == data["unlisted_folders"]

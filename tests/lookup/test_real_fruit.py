"""Real fruit with ImageNet's weights: known from some sides and named from others, and photos of other things."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bootstrap.model import ModelSpec, make
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from lookup.classifier import Classifier, Prediction
from lookup.embed import Embedder
from tests.conftest import shared


def side(path: Path) -> int:
    """Return the number of a view: `N_100.jpg` about one axis, `r_N_100.jpg` about another."""
    return int(path.name.removeprefix("r_").split("_")[0])


@pytest.fixture(scope="module")
def predictions(
    spark: SparkSession, fruits496: Path, imagenet035_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[Path, Prediction]]]:
    """Return the predictions for the other sides and for photos, after a run on the sides 0 to 99."""
    folder = tmp_path_factory.mktemp("real")
    make(ModelSpec(str(imagenet035_weights), alpha=0.35), folder / "model")
    files = sorted(fruits496.glob("*/*.jpg"))
    for file in (file for file in files if side(file) < 100):
        (folder / "known" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "known" / file.parent.name)
    settings = Settings(
        images=str(folder / "known"), model=str(folder / "model"), output=str(folder / "results"), report=False
    )
    featurize(spark, settings)
    reduce(spark, settings)
    classifier = Classifier(settings.output)
    found = {}
    with Embedder(classifier.pipeline) as embedder:
        others = [file for file in files if side(file) >= 100]
        for name, paths in {"fruit": others, "photos": sorted(shared("data/photos").glob("*.jpg"))}.items():
            named = classifier.classify([embedder.embed(path.read_bytes()) for path in paths], 1)
            found[name] = list(zip(paths, named, strict=True))
    return found


def test_fruit_is_named_from_sides_that_were_not_known(predictions: dict[str, list[tuple[Path, Prediction]]]) -> None:
    right = [prediction.label == path.parent.name for path, prediction in predictions["fruit"]]
    assert len(right) == 176
    assert sum(right) >= 0.99 * len(right)
    assert sum(prediction.label is None for _, prediction in predictions["fruit"]) <= 0.02 * len(right)


def test_photos_of_something_else_are_unknown(predictions: dict[str, list[tuple[Path, Prediction]]]) -> None:
    assert len(predictions["photos"]) == 8
    assert sum(prediction.label is None for _, prediction in predictions["photos"]) >= 7

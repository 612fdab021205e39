"""Results to look things up in: a real run on rendered fruit with the embedded model, made once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from bootstrap.model import ModelSpec, make
from bootstrap.sample import FRUITS, SIDES, write
from job.results.index import IndexDescription
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from lookup.index import Index
from lookup.spaces import Vectors


@pytest.fixture(scope="session")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two folders of the included sample, with twelve labels each: five fruits of each label, and the sixth."""
    folder = tmp_path_factory.mktemp("fruit")
    write(folder / "all")
    for file in sorted((folder / "all").glob("*/*.jpg")):
        last = int(file.stem) >= (FRUITS - 1) * SIDES
        target = folder / ("query" if last else "known") / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    return folder / "known", folder / "query"


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "embedded"
    make(ModelSpec("embedded"), folder)
    return folder


@pytest.fixture(scope="session")
def output(
    spark: SparkSession, fruit: tuple[Path, Path], embedded: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the results of a run on the known fruit; read-only."""
    folder = tmp_path_factory.mktemp("output") / "results"
    settings = Settings(images=str(fruit[0]), model=str(embedded), output=str(folder), report=False)
    featurize(spark, settings)
    reduce(spark, settings)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache of the test's own user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def index_of(
    blocks: Sequence[Vectors], labels: list[str | None], residuals: Vectors | None = None, n_colors: int = 0
) -> Index:
    """Return an index of blocks of vectors, each of shape (m, c), whose last `n_colors` coordinates are colors."""
    n, k = sum(len(block) for block in blocks), blocks[0].shape[1] - n_colors
    names = sorted({label for label in labels if label is not None})
    return Index(
        IndexDescription("a run", "a model", "a basis", n, k, ()),
        [np.asarray(block, np.float32) for block in blocks],
        np.zeros(n, np.float32) if residuals is None else np.asarray(residuals, np.float32),
        names,
        np.array([-1 if label is None else names.index(label) for label in labels], np.int32),
        pa.chunked_array([pa.array([f"/{row}.jpg" for row in range(n)])]),
    )

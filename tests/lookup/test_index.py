"""The index of a run: it holds the results again; a damaged one is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from job.errors import JobError
from job.features.table import read_features
from job.pca.basis import Basis
from job.results.index import map_part
from job.results.run_record import current_run
from job.settings import Settings
from job.stages.reduce import reduce
from lookup.classifier import Classifier
from lookup.index import Index, open_index
from tests.conftest import run_json
from tests.job.conftest import bucket, s3_environment

__all__ = ["bucket", "s3_environment"]


@pytest.fixture
def copy(output: Path, tmp_path: Path) -> Path:
    """Return a copy of the results that a test may damage."""
    return Path(shutil.copytree(output, tmp_path / "copy"))


def folder(output: Path) -> Path:
    return output / str(run_json(output)["results"]["neighbours"])


def opened(output: Path | str) -> Index:
    return open_index(str(output), current_run(str(output)))


def origin(output: Path, column: str) -> tuple[Basis, np.ndarray]:
    """Return what the index was made from: the basis, and a column of the features, in the order of the index."""
    [basis] = [Basis.from_bytes(path.read_bytes(), "") for path in (output / "pca_model").glob("*/basis.npz")]
    table, index = read_features(str(output)), opened(output)
    assert isinstance(table, pa.Table)
    values = table.to_pandas().set_index("path")[column]
    return basis, np.stack([values[index.path(row)] for row in range(len(index))])


def test_it_is_the_results_again(output: Path) -> None:
    index = opened(output)
    expected = pd.read_parquet(output / run_json(output)["results"]["pca_results"]).set_index("path")
    paths = [index.path(row) for row in range(len(index))]
    assert sorted(paths) == sorted(expected.index)
    found = expected.loc[paths]
    assert [index.label(row) for row in range(len(index))] == found["label"].tolist()
    k = index.description.components
    assert np.array_equal(np.concatenate(index.blocks)[:, :k], np.stack(found["pca_features"].tolist()))
    rows = np.array([250, 0, 17, 299])
    assert np.array_equal(index.coordinates(rows)[:, :k], np.stack(found["pca_features"].iloc[rows].tolist()))


def test_residuals_are_the_distances_from_the_projections(output: Path) -> None:
    index = opened(output)
    basis, features = origin(output, "features")
    values = features.astype(float) - basis.mean
    residuals = values - values @ basis.components.T @ basis.components
    assert np.allclose(index.residuals, np.linalg.norm(residuals, axis=1), rtol=1e-4)


def test_colors_follow_the_components(output: Path) -> None:
    index = opened(output)
    basis, expected = origin(output, "colours")
    colors = np.concatenate(index.blocks)[:, index.description.components :]
    assert np.allclose(colors**2 / (6**2 * basis.total_variance), expected, atol=1e-6)


def test_it_is_mapped_not_read(output: Path) -> None:
    assert all(not block.flags.owndata and not block.flags.writeable for block in opened(output).blocks)


def test_the_index_before_the_current_one_stays_until_the_next_run(spark: SparkSession, copy: Path) -> None:
    names = [folder(copy).name]
    for _ in range(2):
        reduce(spark, Settings(output=str(copy), report=False, components=10))
        names.append(folder(copy).name)
        assert {path.name for path in (copy / "neighbours").iterdir()} == set(names[-2:])
    assert len(set(names)) == 3
    assert opened(copy).description.components == 10


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no results": (lambda output: (output / "run.json").unlink(), "no results in"),
    "results of an earlier version": (
        lambda output: edit(output / "run.json", lambda run: run["results"].pop("neighbours")),
        "earlier version",
    ),
    "no index": (lambda output: shutil.rmtree(output / "neighbours"), "no index at"),
    "no JSON": (lambda output: (folder(output) / "index.json").write_text("{"), "damaged"),
    "another format": (
        lambda output: edit(folder(output) / "index.json", lambda description: description.update(format=9)),
        "format 9",
    ),
    "other results": (
        lambda output: edit(folder(output) / "index.json", lambda description: description.update(run="x")),
        "other results",
    ),
    "a part gone": (lambda output: next(folder(output).glob("*.arrow")).unlink(), "differs from what the run wrote"),
    "a part cut": (lambda output: cut(next(folder(output).glob("*.arrow"))), "differs from what the run wrote"),
    "a part overwritten": (lambda output: overwrite(next(folder(output).glob("*.arrow"))), "damaged"),
    "a part named elsewhere": (lambda output: name_part(output, "../../x.arrow"), "damaged"),
    "run.json without results": (lambda output: (output / "run.json").write_text("{}"), "damaged"),
    "a description that is a list": (lambda output: (folder(output) / "index.json").write_text("[]"), "damaged"),
    "another model": (
        lambda output: edit(output / "run.json", lambda run: run["settings"].update(mode="exact")),
        "results were not made with the model",
    ),
    "a damaged model": (lambda output: cut(output / "model" / "model.tflite"), "damaged"),
    "no basis": (lambda output: shutil.rmtree(output / "pca_model"), "no basis"),
    "another basis": (
        lambda output: update(folder(output) / "index.json", basis_sha256="0" * 64),
        "is not the basis of the index",
    ),
}


def name_part(output: Path, name: str) -> None:
    edit(folder(output) / "index.json", lambda content: content["parts"][0].update(name=name))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def update(path: Path, **fields: object) -> None:
    edit(path, lambda content: content.update(fields))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def overwrite(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_output_is_refused_in_one_line(copy: Path, damage: str) -> None:
    act, words = DAMAGES[damage]
    act(copy)
    with pytest.raises(JobError, match=words) as error:
        Classifier(str(copy))
    assert "\n" not in str(error.value)


def test_from_s3_it_is_fetched_once(output: Path, bucket: str, cache: Path) -> None:
    client = boto3.client("s3")
    for path in sorted(output.rglob("*")):
        if path.is_file() and "features" not in path.parts:
            client.upload_file(str(path), bucket, f"results/{path.relative_to(output)}")
    there = Classifier(f"s3://{bucket}/results").index
    here = Classifier(str(output)).index
    assert np.array_equal(np.concatenate(there.blocks), np.concatenate(here.blocks))
    [kept] = (cache / "fruits" / "neighbours").glob("*/*")
    assert kept.name == folder(output).name
    for key in client.list_objects_v2(Bucket=bucket, Prefix="results/neighbours/")["Contents"]:
        if key["Key"].endswith(".arrow"):
            client.delete_object(Bucket=bucket, Key=key["Key"])
    assert len(Classifier(f"s3://{bucket}/results").index) == len(here)


def test_flipped_bits_are_refused_or_harmless(output: Path, tmp_path: Path) -> None:
    [part, *_] = sorted(folder(output).glob("*.arrow"))
    k, rng = opened(output).description.components, np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(part.read_bytes())
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "part-00000.arrow").write_bytes(data)
        try:
            table = map_part(tmp_path / "part-00000.arrow", k)
        except JobError:
            continue
        table.column("path").to_pylist()
        table.column("label").to_pylist()


def test_a_part_that_was_changed_in_the_bucket_is_not_taken(output: Path, bucket: str, cache: Path) -> None:
    client = boto3.client("s3")
    for path in sorted(output.rglob("*")):
        if path.is_file() and "features" not in path.parts:
            data = bytearray(path.read_bytes())
            if path.suffix == ".arrow":
                data[-500] ^= 1
            client.put_object(Bucket=bucket, Key=f"results/{path.relative_to(output)}", Body=bytes(data))
    with pytest.raises(JobError, match="differs from what the run wrote"):
        Classifier(f"s3://{bucket}/results")
    assert list((cache / "fruits" / "neighbours").rglob("*.arrow")) == []

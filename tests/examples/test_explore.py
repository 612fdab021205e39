"""The notebook, run from its first cell to its last on the results of a run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pyspark.sql import SparkSession

from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from tests.conftest import make_images

ROOT = Path(__file__).resolve().parents[2]


def test_every_cell_runs_and_shows_the_results(
    spark: SparkSession, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_images(tmp_path / "images", {"apple": 12, "banana": 9, "cherry": 15})
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"), components=5)
    featurize(spark, settings)
    reduce(spark, settings)
    monkeypatch.setenv("OUTPUT", settings.output)
    notebook = nbformat.read(ROOT / "examples" / "explore.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells)  # as it is committed
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = "".join(output.get("text", "") for output in outputs)
    assert "36 images with 3 labels, 5 components" in text
    assert "36 images, five-fold cross-validation" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2

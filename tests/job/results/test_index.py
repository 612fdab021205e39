"""The index for lookup: its description and its parts are read as they were written, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from job.errors import JobError
from job.images.color_histogram import COLOR_BINS
from job.results.index import (
    IndexDescription,
    IndexPart,
    as_results,
    index_part_name,
    index_schema,
    map_part,
    read_description,
    write_description,
    write_part,
)
from job.results.tables import RESULTS_SCHEMA

DESCRIPTION = IndexDescription("a run", "a model", "0" * 64, 3, 2, (IndexPart("part-00001.arrow", 3, 99, "1" * 64),))


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_description(str(tmp_path), DESCRIPTION)
    assert read_description(str(tmp_path)) == DESCRIPTION


def test_the_keys_of_index_json_are_a_contract(tmp_path: Path) -> None:
    write_description(str(tmp_path), DESCRIPTION)
    fields = json.loads((tmp_path / "index.json").read_text())
    assert list(fields) == ["run", "fingerprint", "basis_sha256", "pictures", "components", "parts", "format"]
    assert fields["parts"] == [{"name": "part-00001.arrow", "rows": 3, "bytes": 99, "sha256": "1" * 64}]
    assert (fields["pictures"], fields["format"]) == (3, 2)


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no format": (lambda fields: fields.pop("format"), "is damaged; python -m job reduce rebuilds it"),
    "another format": (lambda fields: fields.update(format=3), "has format 3, this version reads format 2; "),
    "no parts": (lambda fields: fields.pop("parts"), "is damaged"),
    "a number for parts": (lambda fields: fields.update(parts=1), "is damaged"),
    "a part without its digest": (lambda fields: fields["parts"][0].pop("sha256"), "is damaged"),
    "a part elsewhere": (lambda fields: fields["parts"][0].update(name="../part-00001.arrow"), "is damaged"),
    "a part without a name": (lambda fields: fields["parts"][0].update(name=None), "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_description_is_refused(tmp_path: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    write_description(str(tmp_path), DESCRIPTION)
    fields = json.loads((tmp_path / "index.json").read_text())
    change(fields)
    (tmp_path / "index.json").write_text(json.dumps(fields))
    with pytest.raises(JobError, match=rf"^{tmp_path}/index\.json {words}"):
        read_description(str(tmp_path))


def test_no_description_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=rf"^no index at {tmp_path}; python -m job reduce builds it$"):
        read_description(str(tmp_path))


def test_the_rows_of_a_part_are_rows_of_the_results(tmp_path: Path) -> None:
    coordinates = np.random.default_rng(0).normal(size=(3, 2 + COLOR_BINS)).astype(np.float32)
    schema = index_schema(2)
    columns = [
        pa.array(["/a", "/b", "/c"]),
        pa.array(["x", None, "x"]).dictionary_encode(),
        pa.array([0.0, 1.0, 2.0], pa.float32()),
        pa.FixedSizeListArray.from_arrays(coordinates.ravel(), type=schema.field("coordinates").type),
    ]
    results_part = str(tmp_path / "part-00007.parquet")
    address = tmp_path / index_part_name(results_part)
    part = write_part(str(address), pa.table(columns, schema=schema))
    assert (part.name, part.rows, part.bytes) == ("part-00007.arrow", 3, address.stat().st_size)
    results = as_results(map_part(address, 2))
    assert results.schema == RESULTS_SCHEMA
    assert results.column("path").to_pylist() == ["/a", "/b", "/c"]
    assert results.column("label").to_pylist() == ["x", None, "x"]
    assert results.column("pca_features").to_pylist() == coordinates[:, :2].tolist()
    with pytest.raises(JobError, match=r"is no index of 3 components; python -m job reduce rebuilds it$"):
        map_part(address, 3)

"""The index for lookup, `neighbours/run=<id>/`: the results again, in files that are mapped into memory.

Each part is an uncompressed Arrow file with the images of one Parquet part of the results, so that a search reads the
mapped bytes themselves. `index.json`, written last, names the parts, the model and the basis.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job import storage
from job.errors import JobError
from job.images.color_histogram import COLOR_BINS
from job.results.tables import RESULTS_SCHEMA

INDEX = "index.json"
FORMAT = 2
_NAME = re.compile(r"part-\d+\.arrow")


def index_schema(k: int) -> pa.Schema:
    """Return the schema of a part.

    `coordinates` are k components, then the colors, see `job.results.coordinates`. `residual` is the Euclidean distance
    of the features from their projection on the basis.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("label", pa.dictionary(pa.int32(), pa.string())),
            ("residual", pa.float32()),
            ("coordinates", pa.list_(pa.field("element", pa.float32()), k + COLOR_BINS)),
        ]
    )


@dataclass(frozen=True)
class IndexPart:
    """An Arrow file of the index: its name in the folder, rows, bytes, and the hexadecimal SHA-256 of those."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexDescription:
    """The content of `index.json`.

    Attributes
    ----------
    run : str
        The run whose results are indexed.
    fingerprint : str
        Fingerprint of the model and the decoding, which a photo has to go through as well.
    basis_sha256 : str
        Hexadecimal SHA-256 of the file of the basis.
    images, components : int
        Number of rows in all parts; number of the coordinates that are components.
    parts : tuple of IndexPart
    format : int
        Version of this description.
    """

    run: str
    fingerprint: str
    basis_sha256: str
    images: int
    components: int
    parts: tuple[IndexPart, ...]
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON-ready values, in the order of `index.json`."""
        return {"pictures" if name == "images" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: Any, source: str) -> "IndexDescription":
        """Read the values that `to_json` returned; `source` names them in errors.

        Raises
        ------
        JobError
            Where it is damaged or of another version.
        """
        damaged = JobError(f"{source} is damaged; python -m job reduce rebuilds it")
        try:
            found = fields["format"]
            if found != FORMAT:
                raise JobError(
                    f"{source} has format {found}, this version reads format {FORMAT}; python -m job reduce rebuilds it"
                )
            description = cls(
                run=fields["run"],
                fingerprint=fields["fingerprint"],
                basis_sha256=fields["basis_sha256"],
                images=fields["pictures"],
                components=fields["components"],
                parts=tuple(IndexPart(**part) for part in fields["parts"]),
            )
            # With any other name, the part could be a file anywhere.
            if not all(_NAME.fullmatch(part.name) for part in description.parts):
                raise damaged
        except (TypeError, KeyError):
            raise damaged from None
        return description


def index_part_name(results_part: str) -> str:
    """Return the name of the part with the images of a part of the results."""
    return f"{storage.name(results_part).removesuffix('.parquet')}.arrow"


def write_part(address: str, rows: pa.Table) -> IndexPart:
    """Write a table with the columns of `index_schema` as one part; return its description."""
    with storage.create(address) as path:
        # One batch, so that the coordinates are one array when the file is mapped.
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return IndexPart(storage.name(address), rows.num_rows, path.stat().st_size, digest)


def write_description(folder: str, description: IndexDescription) -> None:
    """Write `index.json`, which completes the index."""
    storage.write(storage.join(folder, INDEX), (json.dumps(description.to_json(), indent=2) + "\n").encode())


def read_description(folder: str) -> IndexDescription:
    """Read `index.json`; raises `JobError` where it is absent, damaged or of another version."""
    address = storage.join(folder, INDEX)
    try:
        fields = json.loads(storage.read(address))
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"no index at {folder}; python -m job reduce builds it") from None
    except ValueError:
        raise JobError(f"{address} is damaged; python -m job reduce rebuilds it") from None
    return IndexDescription.from_json(fields, address)


def map_part(path: Path, k: int) -> pa.Table:
    """Map a local part into memory, and return it as a table; raises `JobError` where it is damaged."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
            table.select(["path", "label"]).validate(full=True)  # a flipped bit could point beyond the file
    except (OSError, KeyError, pa.ArrowException) as error:
        raise JobError(f"{path} is damaged ({error}); python -m job reduce rebuilds it") from None
    if table.schema != index_schema(k):
        raise JobError(f"{path} is no index of {k} components; python -m job reduce rebuilds it")
    return table


def as_results(rows: pa.Table) -> pa.Table:
    """Return rows of an index as rows of the results: the coordinates without the colors, in `RESULTS_SCHEMA`."""
    coordinates = rows.column("coordinates")
    components = pc.list_slice(coordinates, 0, coordinates.type.list_size - COLOR_BINS)
    columns = [rows.column("path"), rows.column("label"), components]
    return pa.table(columns, RESULTS_SCHEMA.names).cast(RESULTS_SCHEMA)

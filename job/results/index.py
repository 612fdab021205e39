"""The index that a run leaves for lookup: `neighbours/run=<id>/`, derived from the results and memory-mappable.

Each part is an Arrow file beside the results' Parquet part of the same pictures, uncompressed, so that what is mapped
is what is searched. `index.json`, written last, names the parts and what made them.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.images.color_histogram import COLOR_BINS
from job.pca.basis import Basis
from job.results.tables import RESULTS_SCHEMA

INDEX = "index.json"
FORMAT = 2
# With less, rendered fruit is named worse in the light of the known pictures; with much more, in another light.
_COLOUR_WEIGHT = 6
_NAME = re.compile(r"part-\d+\.arrow")


def schema(k: int) -> pa.Schema:
    """Return the schema of a part.

    `coordinates` are those of `locate`: k components, then the colours. `residual` is the Euclidean distance of the
    features from their projection on the basis: what the components do not tell.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("label", pa.dictionary(pa.int32(), pa.string())),
            ("residual", pa.float32()),
            ("coordinates", pa.list_(pa.field("element", pa.float32()), k + COLOR_BINS)),
        ]
    )


def locate(
    basis: Basis, features: NDArray[np.float32], colours: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where pictures lie: coordinates [n, k + 160] and residuals [n], of features [n, d] and colours [n, 160].

    The first k coordinates are the centred components, the others the weighed colours.
    """
    components, residuals = basis.split(features)
    return np.hstack([components, weigh(basis, colours)]).astype(np.float32), residuals.astype(np.float32)


def weigh(basis: Basis, colours: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return shares of colours [n, 160] as they stand beside components: their square roots, times a weight.

    Products of the square roots compare histograms (the Bhattacharyya coefficient). The weight is in units of the
    standard deviation of all features together.
    """
    weighed: NDArray[np.floating[Any]] = _COLOUR_WEIGHT * np.sqrt(colours) * np.sqrt(basis.total_variance)
    return weighed


@dataclass(frozen=True)
class IndexPart:
    """One Arrow file of the index: its name in the folder, rows, bytes, and their hexadecimal digest."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexDescription:
    """What `index.json` says.

    Attributes
    ----------
    run : str
        The results that it belongs to.
    fingerprint : str
        Of model and decoding: what a picture that is asked about has to go through as well.
    basis_sha256 : str
        Hexadecimal digest of the basis that the components are coordinates on.
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
        """Read what `to_json` returned; `source` names it in errors.

        Raises
        ------
        JobError
            Where it is damaged or of another version.
        """
        damaged = JobError(f"{source} is damaged; python -m job reduce makes it anew")
        try:
            found = fields["format"]
            if found != FORMAT:
                raise JobError(
                    f"{source} has format {found}, this version reads format {FORMAT};"
                    " python -m job reduce makes it anew"
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


def write_part(address: str, rows: pa.Table) -> IndexPart:
    """Write one part from a table with the columns of `schema`; return what it is."""
    with storage.create(address) as path:
        # One batch, so that the coordinates are one array when the file is mapped.
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return IndexPart(storage.name(address), rows.num_rows, path.stat().st_size, digest)


def write_description(folder: str, description: IndexDescription) -> None:
    """Write `index.json`: from then on the index counts."""
    storage.write(storage.join(folder, INDEX), (json.dumps(description.to_json(), indent=2) + "\n").encode())


def read_description(folder: str) -> IndexDescription:
    """Read `index.json`; raises `JobError` where it is absent, damaged or of another version."""
    address = storage.join(folder, INDEX)
    try:
        fields = json.loads(storage.read(address))
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"no index at {folder}; python -m job reduce makes it") from None
    except ValueError:
        raise JobError(f"{address} is damaged; python -m job reduce makes it anew") from None
    return IndexDescription.from_json(fields, address)


def map_part(path: Path, k: int) -> pa.Table:
    """Return a local part's rows without reading them: they are mapped; raises `JobError` where it is damaged."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
            table.select(["path", "label"]).validate(full=True)  # or a flipped bit would lead beyond the file
    except (OSError, KeyError, pa.ArrowException) as error:
        raise JobError(f"{path} is damaged ({error}); python -m job reduce makes it anew") from None
    if table.schema != schema(k):
        raise JobError(f"{path} is no index of {k} components; python -m job reduce makes it anew")
    return table


def as_results(rows: pa.Table) -> pa.Table:
    """Return the rows of an index as those of the results: of the coordinates the components, the contract's types."""
    coordinates = rows.column("coordinates")
    components = pc.list_slice(coordinates, 0, coordinates.type.list_size - COLOR_BINS)
    columns = [rows.column("path"), rows.column("label"), components]
    return pa.table(columns, RESULTS_SCHEMA.names).cast(RESULTS_SCHEMA)

"""The record of a completed run, `run.json`: it names the current results, and is written last."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from job import __version__, storage
from job.errors import JobError
from job.features.snapshot import Counts, ModelSummary, Snapshot
from job.images.decode import DECODER_VERSION
from job.images.unlisted_folders import UnlistedFolders
from job.pca.basis import Basis
from job.pca.basis_file import BASIS
from job.settings import Settings
from job.storage.lock import names_nothing, write_named

RUN = "run.json"
FORMAT = 1
# The settings of the reduction; all others in run.json are those of the featurize stage.
_REDUCTION_SETTINGS = ("output", "components", "variance", "pca_model", "csv", "report")
_LIBRARIES = ("numpy", "pyarrow", "pillow", "ai-edge-litert")


@dataclass(frozen=True)
class ResultFolders:
    """The folders of one run's results, as addresses below the output.

    `index` is None for results of a version that made none, `label_counts` where `run.json` holds the labels.
    """

    pca_model: str
    pca_results: str
    index: str | None
    label_counts: str | None = None

    @classmethod
    def of_run(cls, run: str, *, label_table: bool = False) -> "ResultFolders":
        """Return the folders that a new run writes to."""
        table = f"label_counts/run={run}" if label_table else None
        return cls(f"pca_model/run={run}", f"pca_results/run={run}", f"neighbours/run={run}", table)

    def to_json(self) -> dict[str, str]:
        """Return the folders by the names that `run.json` gives them."""
        folders = {"pca_model": self.pca_model, "pca_results": self.pca_results, "neighbours": self.index}
        folders["label_counts"] = self.label_counts
        return {name: folder for name, folder in folders.items() if folder is not None}

    @classmethod
    def from_json(cls, fields: dict[str, str]) -> "ResultFolders":
        """Read the values that `to_json` returned."""
        return cls(fields["pca_model"], fields["pca_results"], fields.get("neighbours"), fields.get("label_counts"))


@dataclass(frozen=True)
class RunRecord:
    """A completed run: its settings, its counts and measures, and the folders of its results.

    Attributes
    ----------
    run : str
        Name of the run.
    results : ResultFolders
    settings : Settings
        Of the featurize stage and of the reduction.
    model : ModelSummary
        The model that made the features.
    fingerprint : str
        Of the model and the decoding.
    counts : Counts
        Numbers of images.
    labels : dict or None
        Number of listed images by label; the key of images without one is empty. None where `results` names a table.
    seconds : dict
        Duration by stage.
    images_per_second : float
        Rate at which new images were featurized.
    components : int
        k, the number of components.
    explained_variance_ratio : tuple of float
        Share of the total variance of each component, k values from 0 to 1.
    pca_fitted_to : int
        Number of vectors that the basis was fitted to.
    versions : dict
        Versions by name: of this package, Spark, the decoder and the libraries.
    validation : dict
        Result by check.
    unlisted_folders : UnlistedFolders
        Folders that may not be listed, and were left out.
    earlier : str or None
        Name of the run whose results were current before; they stay until the next run begins.
    written : str or None
        When its results were written, UTC, ISO 8601; None of an earlier version.
    format : int
        Version of this record.
    """

    run: str
    results: ResultFolders
    settings: Settings
    model: ModelSummary
    fingerprint: str
    counts: Counts
    labels: dict[str, int] | None
    seconds: dict[str, float]
    images_per_second: float
    components: int
    explained_variance_ratio: tuple[float, ...]
    pca_fitted_to: int
    versions: dict[str, str]
    validation: dict[str, str]
    unlisted_folders: UnlistedFolders = field(default_factory=UnlistedFolders)
    earlier: str | None = None
    written: str | None = None
    format: int = FORMAT

    def basis_address(self, output: str) -> str:
        """Return the address of the basis."""
        return storage.join(output, self.results.pca_model, BASIS)

    def index_folder(self, output: str) -> str:
        """Return the address of the index; raises `JobError` for results of a version that made none."""
        if self.results.index is None:
            raise JobError(f"the results in {output} are of an earlier version; python -m job reduce --output {output}")
        return storage.join(output, self.results.index)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, in the order of `run.json`."""
        fields = asdict(self)
        fingerprint = fields.pop("fingerprint")
        return fields | {
            "results": self.results.to_json(),
            "settings": self.settings.as_dict(),
            "model": self.model.to_json() | {"fingerprint": fingerprint},
            "explained_variance_ratio": list(self.explained_variance_ratio),
            "unlisted_folders": self.unlisted_folders.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Any, source: str) -> "RunRecord":
        """Read the values that `to_json` returned; `source` names them in errors.

        A record without a format is of the first.

        Raises
        ------
        JobError
            Where it is damaged or of another version.
        """
        try:
            found = fields.get("format", FORMAT)
            if found != FORMAT:
                raise JobError(f"{source} has format {found}, this version reads format {FORMAT}; use a newer version")
            return cls(
                run=fields["run"],
                results=ResultFolders.from_json(fields["results"]),
                settings=Settings.from_json(fields["settings"]),
                model=ModelSummary.from_json(fields["model"]),
                fingerprint=fields["model"]["fingerprint"],
                counts=Counts.from_json(fields["counts"]),
                labels=None if fields["labels"] is None else dict(fields["labels"]),
                seconds=dict(fields["seconds"]),
                images_per_second=float(fields["images_per_second"]),
                components=int(fields["components"]),
                explained_variance_ratio=tuple(fields["explained_variance_ratio"]),
                pca_fitted_to=int(fields["pca_fitted_to"]),
                versions=dict(fields["versions"]),
                validation=dict(fields["validation"]),
                unlisted_folders=UnlistedFolders.from_json(fields.get("unlisted_folders")),
                earlier=fields.get("earlier"),
                written=fields.get("written"),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(source) from None


def new_record(
    run: str, snapshot: Snapshot, settings: Settings, basis: Basis, validation: dict[str, str], spark_version: str
) -> RunRecord:
    """Return the record of a reduction of a snapshot, so far without its durations."""
    # The settings of the featurize stage, with those of the reduction in their place.
    reduction = {name: getattr(settings, name) for name in _REDUCTION_SETTINGS}
    versions = {"fruits": __version__, "spark": spark_version, "decoder": str(DECODER_VERSION)}
    return RunRecord(
        run=run,
        results=ResultFolders.of_run(run, label_table=snapshot.labels is None),
        settings=replace(Settings.from_json(snapshot.settings), **reduction),
        model=snapshot.model,
        fingerprint=snapshot.fingerprint,
        counts=snapshot.counts,
        labels=snapshot.labels,
        seconds={},
        images_per_second=round(snapshot.images_per_second, 2),
        components=len(basis.components),
        explained_variance_ratio=tuple(basis.explained_variance_ratio.tolist()),
        pca_fitted_to=basis.n,
        versions=versions | {library: version(library) for library in _LIBRARIES},
        validation=validation,
        unlisted_folders=snapshot.unlisted_folders,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_run(output: str) -> RunRecord | None:
    """Return the record of an output's current results, or None where no run has been completed.

    Raises
    ------
    JobError
        For a file that is damaged or of another version.
    """
    address = storage.join(output, RUN)
    try:
        fields = json.loads(storage.read(address))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise _damaged(address) from None
    if names_nothing(fields):
        return None
    return RunRecord.from_json(fields, address)


def current_run(output: str) -> RunRecord:
    """Return the record of an output's current results; raises `JobError` where there are none."""
    run = read_run(output)
    if run is None:
        raise JobError(f"no results in {output}; make them with: python -m job reduce --output {output}")
    return run


def write_run(output: str, record: RunRecord) -> None:
    """Name the results that are current from now on."""
    write_named(output, {RUN: record.to_json()})


def _damaged(source: str) -> JobError:
    return JobError(f"{source} is damaged; delete it and run again: nothing is inferred twice")

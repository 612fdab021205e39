"""A run, its collection and findings in, the data that `page/report.js` draws out."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from job.curation.collection import Collection
from job.curation.findings import Findings
from job.curation.highlights import Highlights, highlights
from job.curation.intervals import Interval
from job.curation.points import Points, choose_rows, points
from job.curation.report_limits import ReportLimits
from job.curation.report_lists import LABEL_ISSUES_CSV, NEAR_DUPLICATES_CSV, OUTLIERS_CSV
from job.curation.sampling import ImageSample
from job.curation.separation import LabelAccuracy
from job.curation.tile_sheets import TileSheets, tile_sheets
from job.features.snapshot import Counts
from job.images.unlisted_folders import UnlistedFolders


@dataclass(frozen=True)
class PcaSummary:
    """The basis of the results.

    Attributes
    ----------
    ratio : list of float
        Share of the variance that each component explains.
    k : int
    asked : str
        How far the run was asked to reduce, in words.
    fitted_to : int
        Number of images.
    applied : bool
        Whether the basis existed before the run.
    """

    ratio: list[float]
    k: int
    asked: str
    fitted_to: int
    applied: bool


@dataclass(frozen=True)
class RunSummary:
    """The run as the page's last section lists it: seconds by stage, and names with values."""

    id: str
    seconds: dict[str, float]
    images_per_second: float
    settings: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, str]
    validation: dict[str, str]


@dataclass(frozen=True)
class ReportedRun:
    """What a report needs to know about the run whose results it shows.

    Attributes
    ----------
    output : str
    images : str
        Address of the folder that was listed.
    rejected_csv : str
        Name of the file that lists the rejected images.
    counts : Counts
    labels : list of (str, int)
        Labels with the number of listed images, most images first, empty for images without one; at least those that
        the report shows.
    n_labels : int
        Number of all labels.
    pca : PcaSummary
    summary : RunSummary
    unlisted_folders : UnlistedFolders
        Folders that may not be listed, and were left out.
    """

    output: str
    images: str
    rejected_csv: str
    counts: Counts
    labels: list[tuple[str, int]]
    n_labels: int
    pca: PcaSummary
    summary: RunSummary
    unlisted_folders: UnlistedFolders = field(default_factory=UnlistedFolders)


@dataclass(frozen=True)
class Rejections:
    """The number of images that were rejected for a reason, and the first of their paths."""

    reason: str
    count: int
    paths: list[str]


@dataclass(frozen=True)
class SeparationSummary:
    """How well labels separate: over all images, and for the labels that do so worst."""

    accuracy: Interval
    images: int
    labels: int
    by_label: list[LabelAccuracy]


@dataclass(frozen=True)
class SampleSummary:
    """Numbers of images: usable ones, those compared, those on the map, and those of them that are gone."""

    usable: int
    compared: int
    shown: int
    missing: int


@dataclass(frozen=True)
class ReportData:
    """All that the page shows. An image is the number of its point, from 0 on; a label is its index in `points.names`.

    Attributes
    ----------
    made : str
        Time in UTC, as ISO 8601 writes it.
    output : str
    counts : Counts
    labels : list of (str or None, int)
        Labels with the number of their images, most images first.
    other_labels : int
        Number of labels that `labels` leaves out.
    sizes : list of (int, int, int)
        Widths and heights in pixels with the number of images, most images first.
    other_sizes : int
        Number of images of the sizes that `sizes` leaves out.
    rejections : list of Rejections
    pca : PcaSummary
    separation : SeparationSummary or None
    separation_note : str or None
        Why there is no separation.
    highlights : Highlights
    totals, files : dict
        Number of findings, and name of the CSV file, for each list of findings.
    rejected_csv : str
    unlisted_folders : UnlistedFolders
    run : RunSummary
    sample : SampleSummary
    points : Points
    tiles : TileSheets
    """

    made: str
    output: str
    counts: Counts
    labels: list[tuple[str | None, int]]
    other_labels: int
    sizes: list[tuple[int, int, int]]
    other_sizes: int
    rejections: list[Rejections]
    pca: PcaSummary
    separation: SeparationSummary | None
    separation_note: str | None
    highlights: Highlights
    totals: dict[str, int]
    files: dict[str, str]
    rejected_csv: str
    unlisted_folders: UnlistedFolders
    run: RunSummary
    sample: SampleSummary
    points: Points
    tiles: TileSheets

    def to_json(self) -> dict[str, Any]:
        """Return the data as JSON-ready values, by the names of the fields."""
        return asdict(self)


def report_data(
    run: ReportedRun, collection: Collection, sample: ImageSample, findings: Findings, limits: ReportLimits
) -> ReportData:
    """Return what the page shows."""
    by_row = highlights(findings, sample.coordinates, limits)
    rows = choose_rows(by_row.images(), len(sample.paths), limits.points)
    labels, sizes = run.labels[: limits.labels], collection.sizes.most_common()
    return ReportData(
        made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        output=run.output,
        counts=run.counts,
        labels=[(label or None, count) for label, count in labels],
        other_labels=run.n_labels - len(labels),
        sizes=[(width, height, count) for (width, height), count in sizes[: limits.sizes]],
        other_sizes=sum(count for _, count in sizes[limits.sizes :]),
        rejections=[
            Rejections(reason, count, collection.rejected[reason]) for reason, count in collection.reasons.most_common()
        ],
        pca=run.pca,
        separation=_separation(findings, limits),
        separation_note=None if findings.separation else _note(findings.label_names),
        highlights=by_row.renumbered({row: point for point, row in enumerate(rows)}),
        totals={
            "label_issues": len(findings.label_issues),
            "near_duplicates": len(findings.near_duplicates),
            "outliers": len(findings.outliers),
        },
        files={
            "label_issues": LABEL_ISSUES_CSV,
            "near_duplicates": NEAR_DUPLICATES_CSV,
            "outliers": OUTLIERS_CSV,
        },
        rejected_csv=run.rejected_csv,
        unlisted_folders=run.unlisted_folders,
        run=run.summary,
        sample=SampleSummary(
            usable=run.counts.ok,
            compared=len(sample.paths),
            shown=len(rows),
            missing=sum(not sample.pixels.digests[row] for row in rows),
        ),
        points=points(sample, findings, rows, run.images),
        tiles=tile_sheets(sample.pixels.tiles[rows]),
    )


def _separation(findings: Findings, limits: ReportLimits) -> SeparationSummary | None:
    found = findings.separation
    if found is None:
        return None
    worst = found.by_label[: limits.worst_labels]
    return SeparationSummary(found.accuracy, found.images, len(found.by_label), worst)


def _note(labels: list[str]) -> str:
    """Return why nothing is said about how labels separate."""
    if not labels:
        return "No image has a label. The label of an image is the name of the folder that contains it."
    return f"All images have the same label, {labels[0]}, so there is nothing to separate."

"""Spark stage: features and results -> report.html and the lists beside it.

The page is one file that opens without a network. Its data are JSON, shown by `curation/page/`. Names and paths in
it are data to the end: they are never markup.
"""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from job import storage
from job.curation.intervals import wilson
from job.curation.knn import Neighbors, nearest
from job.curation.label_issues import VOTERS, LabelIssue, confused_labels, label_issues
from job.curation.near_duplicates import SHORTLIST, NearDuplicate, near_duplicates
from job.curation.outliers import outliers
from job.curation.page import page_file
from job.curation.sampling import TILE, Sample, Survey, sample, survey
from job.errors import JobError
from job.features.snapshot import Snapshot, read_snapshot
from job.progress import Progress
from job.results.csv_files import REJECTED_CSV, write_csv
from job.results.run_record import RunRecord, current_run
from job.settings import DEFAULT_COMPONENTS, Settings
from job.spark.session import ship
from job.storage.lock import locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REPORT = "report.html"
SUSPECTS, COPIES, OUTLIERS = "report_suspects.csv", "report_copies.csv", "report_outliers.csv"
LISTS = {
    SUSPECTS: pa.schema(
        [("path", pa.string()), ("label", pa.string()), ("suggested", pa.string()), ("share", pa.float64())]
    ),
    COPIES: pa.schema(
        [("path", pa.string()), ("other", pa.string()), ("kind", pa.string()), ("difference", pa.float64())]
    ),
    OUTLIERS: pa.schema([("path", pa.string()), ("label", pa.string()), ("score", pa.float64())]),
}
MOST_BYTES = 5_000_000
SHOWN = 2_000
_LABELS, _SIZES, _PAIRS, _WORST, _LISTED, _EXAMPLES = 1_000, 20, 20, 50, 50, 4
_ENDS, _END_PICTURES = 6, 6
_SHEET_COLUMNS, _SHEET_ROWS, _SHEET_QUALITY = 40, 25, 70


def report(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> None:
    """Make the report of an output's current results anew.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed.

    Raises
    ------
    JobError
        Where there are no results, or features that are newer than they.
    RunError
        For features or results that cannot be read.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    with locked(output, progress):
        snapshot, run = check_report(output)
        ship(spark)
        write_report(spark, output, snapshot, run)


def check_report(output: str) -> tuple[Snapshot, RunRecord]:
    """Return the current features and results that a report is about; raises `JobError` where there are none."""
    snapshot, run = read_snapshot(output), current_run(output)
    if not run.run.startswith(snapshot.run):
        raise JobError(
            f"the features in {output} are newer than the results; bring those up to date with:"
            f" python -m job reduce --output {output}"
        )
    return snapshot, run


def write_report(spark: "SparkSession", output: str, snapshot: Snapshot, run: RunRecord) -> None:
    """Write `report.html` and its lists for results that are in place."""
    found = survey(spark, output, snapshot)
    folder = storage.join(output, run.results.pca_results)
    parts = [entry.address for entry in storage.scan(folder) if entry.address.endswith(".parquet")]
    pictures = sample(spark, found, parts, Settings.from_json(snapshot.settings))
    told = _Told(pictures)
    for name, rows in told.lists().items():
        table = pa.Table.from_pylist(rows, LISTS[name])
        write_csv(storage.join(output, name), iter([table]), LISTS[name], len(rows))
    storage.write(storage.join(output, REPORT), _page(output, found, run, told).encode())


def remove_report(output: str) -> None:
    """Delete a report that would tell of other results."""
    for name in (REPORT, *LISTS):
        storage.remove(storage.join(output, name))


class _Told:
    """What is told of a sample: its labels by number, and what its neighbours say."""

    def __init__(self, pictures: Sample) -> None:
        self.pictures = pictures
        self.names: list[str] = sorted({label for label in pictures.labels if label is not None})
        numbers = {name: number for number, name in enumerate(self.names)}
        self.labels = np.array([-1 if label is None else numbers[label] for label in pictures.labels], np.int64)
        near = nearest(pictures.coordinates, max(SHORTLIST, VOTERS))
        self.near_duplicates: list[NearDuplicate] = near_duplicates(near, pictures.cells, pictures.digests)
        self.outliers = outliers(near)
        self.labelled = np.flatnonzero(self.labels >= 0)
        self.separation: dict[str, Any] | None = None
        self.label_issues: list[LabelIssue] = []
        if len(self.names) > 1:
            few = len(self.labelled) < len(self.labels)
            among = nearest(pictures.coordinates[self.labelled], VOTERS) if few else near
            self._judge(self.labels[self.labelled], among)

    def _judge(self, labels: NDArray[np.int64], near: Neighbors) -> None:
        """Say how well labels separate, on the pictures that have one."""
        right = labels[near.indexes[:, 0]] == labels
        rows = self.labelled
        by_label = [
            (self.names[number], int((labels == number).sum()), int(right[labels == number].sum()))
            for number in range(len(self.names))
        ]
        whole = wilson(int(right.sum()), len(right))
        self.separation = {
            "accuracy": whole.value,
            "low": whole.low,
            "high": whole.high,
            "n": len(right),
            "labels": len(self.names),
            "by_label": sorted(by_label, key=lambda one: (one[2] / one[1], -one[1], one[0]))[:_WORST],
            "confused": [
                {
                    "is": self.names[pair.label],
                    "taken": self.names[pair.other],
                    "count": len(pair.images),
                    "of": pair.total,
                    "examples": [[int(rows[one]), int(rows[near.indexes[one, 0]])] for one in pair.images[:_EXAMPLES]],
                }
                for pair in confused_labels(labels, near)[:_PAIRS]
            ],
        }
        self.label_issues = [
            LabelIssue(int(rows[one.image]), one.suggested, one.share) for one in label_issues(labels, near)
        ]

    @property
    def note(self) -> str | None:
        """Return why nothing is said of how labels separate, None where it is."""
        if self.separation:
            return None
        if not self.names:
            return "No picture has a label: a label is the name of the folder that a picture lies in."
        return f"All pictures have one label, {self.names[0]}: there is nothing to separate."

    def ends(self) -> list[dict[str, list[int]]]:
        """Return the pictures at the two ends of each of the first components, the most extreme first."""
        found = []
        for values in self.pictures.coordinates.T[:_ENDS]:
            order = np.argsort(values, kind="stable").tolist()
            count = min(_END_PICTURES, len(order) // 2)
            found.append({"low": order[:count], "high": order[::-1][:count]})
        return found

    def lists(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of the CSV files beside the report."""
        paths, labels = self.pictures.paths, self.pictures.labels
        return {
            SUSPECTS: [
                {
                    "path": paths[one.image],
                    "label": labels[one.image],
                    "suggested": self.names[one.suggested],
                    "share": one.share,
                }
                for one in self.label_issues
            ],
            COPIES: [
                {"path": paths[one.first], "other": paths[one.second], "kind": one.kind, "difference": one.difference}
                for one in self.near_duplicates
            ],
            OUTLIERS: [
                {"path": paths[one.image], "label": labels[one.image], "score": one.score} for one in self.outliers
            ],
        }


def _page(output: str, found: Survey, run: RunRecord, told: _Told) -> str:
    """Return the page, with as many pictures as its size allows."""
    shown = SHOWN
    while True:
        page = render(_data(output, found, run, told, shown))
        if len(page.encode()) <= MOST_BYTES or not shown:
            return page
        shown //= 2


def _data(output: str, found: Survey, run: RunRecord, told: _Told, shown: int) -> dict[str, Any]:
    """Return what the page shows; pictures in it are points by their place among those shown."""
    pictures, labels = told.pictures, sorted(run.labels.items(), key=lambda one: (-one[1], one[0]))
    sizes = found.sizes.most_common()
    data: dict[str, Any] = {
        "made": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "output": output,
        "counts": run.counts.to_json(),
        "labels": [[label or None, count] for label, count in labels[:_LABELS]],
        "other_labels": len(labels[_LABELS:]),
        "sizes": [[width, height, count] for (width, height), count in sizes[:_SIZES]],
        "other_sizes": sum(count for _, count in sizes[_SIZES:]),
        "rejections": [
            {"reason": reason, "count": count, "paths": found.rejected[reason]}
            for reason, count in found.reasons.most_common()
        ],
        "pca": {
            "ratio": run.explained_variance_ratio,
            "k": run.components,
            "asked": _asked(run.settings),
            "fitted_to": run.pca_fitted_to,
            "applied": run.settings.pca_model is not None,
            "ends": told.ends(),
        },
        "separation": told.separation,
        "separation_note": told.note,
        "suspects": [
            {
                "point": one.image,
                "label": pictures.labels[one.image],
                "suggested": told.names[one.suggested],
                "share": one.share,
            }
            for one in told.label_issues[:_LISTED]
        ],
        "copies": [
            {"points": [one.first, one.second], "kind": one.kind, "difference": one.difference}
            for one in told.near_duplicates[:_LISTED]
        ],
        "outliers": [{"point": one.image, "score": one.score} for one in told.outliers[:_LISTED]],
        "totals": {
            "suspects": len(told.label_issues),
            "copies": len(told.near_duplicates),
            "outliers": len(told.outliers),
        },
        "files": {"suspects": SUSPECTS, "copies": COPIES, "outliers": OUTLIERS, "rejected": REJECTED_CSV},
        "run": {name: value for name, value in run.to_json().items() if name in _OF_THE_RUN} | {"id": run.run},
    }
    mentioned = sorted(set(_points(data)))
    others = np.setdiff1d(np.arange(len(pictures.paths)), mentioned)
    chosen = np.random.default_rng(0).permutation(others)[: max(0, shown - len(mentioned))]
    rows = sorted([*mentioned, *chosen.tolist()])
    _renumber(data, {row: point for point, row in enumerate(rows)})
    missing = sum(not pictures.digests[row] for row in rows)
    data["sample"] = {
        "of": run.counts.ok,
        "neighbours": len(pictures.paths),
        "shown": len(rows),
        "missing": missing,
    }
    data["points"] = _shown_points(pictures, told, rows, storage.absolute(run.settings.images))
    data["tiles"] = _tiles(pictures.tiles[rows])
    return data


_OF_THE_RUN = ("seconds", "images_per_second", "settings", "model", "versions", "validation")


def _asked(settings: Settings) -> str:
    if settings.pca_model is not None:
        return f"the basis in {settings.pca_model}"
    if settings.variance is not None:
        return f"{settings.variance:g} of the variance"
    return f"{settings.components or DEFAULT_COMPONENTS} components"


def _places(data: dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    """Yield where the data name a picture: a list or dict, and the place in it."""
    pairs = (data["separation"] or {"confused": []})["confused"]
    lists = [end[side] for end in data["pca"]["ends"] for side in ("low", "high")]
    lists += [example for pair in pairs for example in pair["examples"]]
    lists += [copy["points"] for copy in data["copies"]]
    for numbers in lists:
        yield from ((numbers, place) for place in range(len(numbers)))
    yield from ((one, "point") for one in [*data["suspects"], *data["outliers"]])


def _points(data: dict[str, Any]) -> Iterable[int]:
    return (holder[place] for holder, place in _places(data))


def _renumber(data: dict[str, Any], points: dict[int, int]) -> None:
    for holder, place in _places(data):
        holder[place] = points[holder[place]]


def _shown_points(pictures: Sample, told: _Told, rows: Sequence[int], root: str) -> dict[str, Any]:
    paths = [pictures.paths[row] for row in rows]
    start = f"{root}/" if all(path.startswith(f"{root}/") for path in paths) else ""
    values = pictures.coordinates[rows]
    scale = np.maximum(np.abs(values).max(axis=0, initial=0), 1e-30) / 32767
    return {
        "prefix": start,
        "path": [path[len(start) :] for path in paths],
        "label": told.labels[rows].tolist(),
        "names": told.names,
        "components": values.shape[1],
        "coordinates": base64.b64encode(np.rint(values / scale).astype("<i2").tobytes()).decode(),
        "scale": scale.tolist(),
    }


def _tiles(tiles: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the pictures as sheets of many: each JPEG of its own would be mostly header."""
    each, sheets = _SHEET_COLUMNS * _SHEET_ROWS, []
    for start in range(0, len(tiles), each):
        some = tiles[start : start + each]
        rows = -(-len(some) // _SHEET_COLUMNS)
        sheet = np.full((rows * _SHEET_COLUMNS, TILE, TILE, 3), 128, np.uint8)
        sheet[: len(some)] = some
        grid = sheet.reshape(rows, _SHEET_COLUMNS, TILE, TILE, 3).swapaxes(1, 2)
        file = io.BytesIO()
        Image.fromarray(grid.reshape(rows * TILE, _SHEET_COLUMNS * TILE, 3)).save(file, "JPEG", quality=_SHEET_QUALITY)
        sheets.append(f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}")
    return {"side": TILE, "columns": _SHEET_COLUMNS, "rows": _SHEET_ROWS, "sheets": sheets}


def render(data: dict[str, Any]) -> str:
    """Return the page that shows the data, with all it needs in it."""
    # In JSON these three are as good as their escapes, and no text can end the element that it stands in.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    filled = {
        "{{css}}": page_file("base.css") + page_file("report.css"),
        "{{plotly}}": page_file("plotly-basic.min.js"),
        "{{script}}": page_file("report.js"),
        "{{data}}": text,
    }
    lines = page_file("report.html").splitlines()
    return "\n".join(filled.get(line.strip(), line) for line in lines) + "\n"

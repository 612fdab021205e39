"""The report's data of a small collection that is made up: which images are points, and that all numbers name them."""

import base64
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from job.curation.collection import Collection
from job.curation.draw import Draw
from job.curation.findings import find
from job.curation.highlights import ComponentEnds, Confusion, Highlights, highlights
from job.curation.label_issues import LabelIssue
from job.curation.near_duplicates import NearDuplicate
from job.curation.outliers import Outlier
from job.curation.points import choose_rows
from job.curation.report_data import PcaSummary, ReportData, ReportedRun, RunSummary, report_data
from job.curation.report_limits import ReportLimits
from job.curation.sampling import CELLS, TILE, ImageSample, Pixels
from job.features.snapshot import Counts
from job.images.unlisted_folders import UnlistedFolders

N = 90


def a_sample(labels: list[str | None]) -> ImageSample:
    """Return a sample of up to N images in three groups that lie apart, with an outlier and two near-duplicates."""
    rng, n = np.random.default_rng(0), len(labels)
    coordinates = (4 * np.eye(3, 8)[np.arange(N) % 3] + 0.1 * rng.normal(size=(N, 8))).astype(np.float32)
    coordinates[7] = 50
    coordinates[31] = coordinates[1] + np.float32(1e-3)
    cells = rng.uniform(0, 255, (N, CELLS, CELLS)).astype(np.float32)
    cells[31] = cells[1]
    digests = [bytes([number]) for number in range(N)]
    digests[20] = digests[5]
    digests[8] = b""  # gone
    pixels = Pixels(np.zeros((n, TILE, TILE, 3), np.uint8), cells[:n], digests[:n])
    return ImageSample([f"/images/{number:03}.jpg" for number in range(n)], labels, coordinates[:n], pixels)


@pytest.fixture
def sample() -> ImageSample:
    labels: list[str | None] = ["apple", "banana", "cherry"] * (N // 3)
    labels[12], labels[50] = "banana", None
    return a_sample(labels)


@pytest.fixture
def run() -> ReportedRun:
    pca = PcaSummary([0.5, 0.2], 8, "8 components", N, applied=False)
    summary = RunSummary("20261126T000000-abcdef", {"list": 1.0}, 10.0, {}, {}, {}, {})
    counts = Counts(listed=N + 2, reused=0, new=N + 2, ok=N, rejected=2)
    labels, unlisted = [("cherry", 59), ("apple", 31), ("", 2)], UnlistedFolders(1, ("/images/lost+found",))
    return ReportedRun("/out", "/images", "rejected.csv", counts, labels, 3, pca, summary, unlisted)


@pytest.fixture
def collection() -> Collection:
    sizes = Counter({(100, 100): 80, (64, 64): 6, (32, 32): 4})
    return Collection(Draw(N), sizes, Counter({"truncated": 2}), {"truncated": ["/images/a.jpg", "/images/b.jpg"]})


def numbers(found: Highlights) -> list[int]:
    """Return the number of every image that highlights name, in their order."""
    ends = [image for ends in found.component_ends for image in (*ends.low, *ends.high)]
    pairs = [pair for confusion in found.confusions for pair in confusion.examples]
    pairs += [(pair.first, pair.second) for pair in found.near_duplicates]
    issues = [issue.image for issue in found.label_issues]
    outliers = [outlier.image for outlier in found.outliers]
    return [*ends, *(image for pair in pairs for image in pair), *issues, *outliers]


def path_of(data: ReportData, point: int) -> str:
    return data.points.prefix + data.points.path[point]


@pytest.mark.parametrize("points", [0, 30, 1_000])
def test_points_are_numbered_once_and_for_all(
    run: ReportedRun, collection: Collection, sample: ImageSample, points: int
) -> None:
    findings, limits = find(sample), ReportLimits(points=points)
    data = report_data(run, collection, sample, findings, limits)
    by_row = highlights(findings, sample.coordinates, limits)
    shown = [path_of(data, point) for point in range(data.sample.shown)]
    assert shown == sorted(shown)
    assert {sample.paths[row] for row in by_row.images()} <= set(shown)
    assert len(shown) == min(N, max(points, len(by_row.images())))
    assert list(map(shown.__getitem__, numbers(data.highlights))) == [sample.paths[row] for row in numbers(by_row)]
    rows = [sample.paths.index(path) for path in shown]
    assert data.points.label == findings.labels[rows].tolist()
    values = np.frombuffer(base64.b64decode(data.points.coordinates), "<i2").reshape(-1, 8) * data.points.scale
    np.testing.assert_allclose(values, sample.coordinates[rows], atol=50 / 32767)
    assert data.sample.missing == (8 in rows)


def test_highlights_know_every_image_that_they_name() -> None:
    found = Highlights(
        [ComponentEnds([0, 1], [2, 3])],
        [Confusion(0, 1, 1, 9, [(4, 5)])],
        [LabelIssue(6, 1, 0.9)],
        [NearDuplicate(7, 8, "same bytes", 0.0)],
        [Outlier(9, 3.5)],
    )
    assert found.images() == set(range(10))
    moved = found.renumbered({number: number + 100 for number in range(10)})
    assert sorted(numbers(moved)) == list(range(100, 110))


def test_planted_faults_are_highlights(run: ReportedRun, collection: Collection, sample: ImageSample) -> None:
    data = report_data(run, collection, sample, find(sample), ReportLimits())
    shown = data.highlights
    (issue,) = shown.label_issues
    assert (path_of(data, issue.image), data.points.names[issue.suggested]) == ("/images/012.jpg", "apple")
    pairs = [(path_of(data, pair.first), path_of(data, pair.second), pair.kind) for pair in shown.near_duplicates]
    assert pairs == [
        ("/images/005.jpg", "/images/020.jpg", "same bytes"),
        ("/images/001.jpg", "/images/031.jpg", "same picture"),
    ]
    assert path_of(data, shown.outliers[0].image) == "/images/007.jpg"
    assert data.separation is not None
    assert data.separation.images == N - 1  # one image has no label
    taken = [(data.points.names[pair.label], data.points.names[pair.other]) for pair in shown.confusions]
    assert ("banana", "apple") in taken


def test_limits_cut_each_list_and_totals_count_all(
    run: ReportedRun, collection: Collection, sample: ImageSample
) -> None:
    limits = ReportLimits(labels=2, sizes=1, worst_labels=1, confused_labels=1, cards=1, components=2, end_images=3)
    data = report_data(run, collection, sample, find(sample), limits)
    assert (data.labels, data.other_labels) == ([("cherry", 59), ("apple", 31)], 1)
    assert (data.sizes, data.other_sizes) == ([(100, 100, 80)], 10)
    assert data.separation is not None
    assert (len(data.separation.by_label), data.separation.labels) == (1, 3)
    assert [len(ends.low) for ends in data.highlights.component_ends] == [3, 3]
    assert len(data.highlights.near_duplicates) == 1
    assert data.totals["near_duplicates"] == 2


@pytest.mark.parametrize(
    ("labels", "words"),
    [([None] * 9, "No image has a label"), (["apple"] * 9, "the same label, apple"), (["apple", None] * 5, "apple")],
)
def test_fewer_than_two_labels_are_explained(
    run: ReportedRun, collection: Collection, labels: list[str | None], words: str
) -> None:
    sample = a_sample(labels)
    data = report_data(run, collection, sample, find(sample), ReportLimits())
    assert data.separation is None
    assert words in str(data.separation_note)
    assert not data.highlights.label_issues
    assert not data.highlights.confusions


def test_the_data_are_json(run: ReportedRun, collection: Collection, sample: ImageSample) -> None:
    data = report_data(run, collection, sample, find(sample), ReportLimits())
    fields: dict[str, Any] = json.loads(json.dumps(data.to_json(), allow_nan=False))
    assert fields["unlisted_folders"] == {"count": 1, "names": ["/images/lost+found"]}
    assert fields["counts"] == {"listed": 92, "reused": 0, "new": 92, "ok": 90, "rejected": 2}
    assert fields["labels"][1] == ["apple", 31]
    assert fields["tiles"]["side"] == TILE


@pytest.mark.parametrize(("n", "count"), [(0, 5), (10, 0), (10, 4), (10, 10), (10, 20)])
def test_rows_are_those_named_and_others_up_to_the_count(n: int, count: int) -> None:
    named = {2, 9} if n else set()
    rows = choose_rows(named, n, count)
    assert rows == sorted(set(rows))
    assert named <= set(rows) <= set(range(n))
    assert len(rows) == min(n, max(count, len(named)))
    assert rows == choose_rows(named, n, count)

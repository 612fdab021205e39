"""Spark stage: features and results -> report.html and the CSV files beside it.

It counts the current images, draws a sample of them, finds what their neighbors say about them, and writes the lists
and the page.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from job import storage
from job.curation.collection import Collection, read_collection
from job.curation.findings import Findings, find
from job.curation.rendering import render
from job.curation.report_data import PcaSummary, ReportedRun, RunSummary, report_data
from job.curation.report_limits import ReportLimits
from job.curation.report_lists import SCHEMAS, report_lists
from job.curation.sampling import ImageSample, read_sample
from job.errors import JobError
from job.features.snapshot import Snapshot, read_snapshot
from job.progress import Progress
from job.results.csv_files import REJECTED_CSV, write_csv
from job.results.label_table import largest_labels
from job.results.run_record import RunRecord, current_run
from job.results.tables import results_parts
from job.settings import DEFAULT_COMPONENTS, Settings
from job.spark.shipping import ship
from job.stages.hold import hold
from job.storage.lock import check_held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REPORT = "report.html"
LIMITS = ReportLimits()


def report(
    spark: "SparkSession", settings: Settings, progress: Progress | None = None, limits: ReportLimits = LIMITS
) -> None:
    """Make the report of an output's current results anew.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed.
    limits : ReportLimits
        The most that the report compares and shows.

    Raises
    ------
    JobError
        Where there are no results, or features that are newer than they.
    RunError
        For features or results that cannot be read.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    with hold(output, progress):
        snapshot, run = check_report(output)
        ship(spark)
        write_report(spark, output, snapshot, run, limits)


def check_report(output: str) -> tuple[Snapshot, RunRecord]:
    """Return the current features and results that a report is about; raises `JobError` where there are none."""
    snapshot, run = read_snapshot(output), current_run(output)
    if not run.run.startswith(snapshot.run):
        raise JobError(
            f"the features in {output} are newer than the results; bring those up to date with:"
            f" python -m job reduce --output {output}"
        )
    return snapshot, run


def write_report(
    spark: "SparkSession", output: str, snapshot: Snapshot, run: RunRecord, limits: ReportLimits = LIMITS
) -> None:
    """Write `report.html` and the CSV files beside it, for results that are in place."""
    collection = read_collection(spark, output, snapshot, limits.sample)
    settings = Settings.from_json(snapshot.settings)
    sample = read_sample(spark, collection.draw.drawn(), results_parts(output, run), settings)
    findings = find(sample)
    lists = report_lists(sample, findings)
    page = _page(_reported(run, output, limits), collection, sample, findings, limits)
    check_held(output)
    for name, table in lists.items():
        write_csv(storage.join(output, name), iter([table]), table.schema, table.num_rows)
    storage.write(storage.join(output, REPORT), page.encode())


def remove_report(output: str) -> None:
    """Delete a report of other results."""
    for name in (REPORT, *SCHEMAS):
        storage.remove(storage.join(output, name))


def _page(
    run: ReportedRun, collection: Collection, sample: ImageSample, findings: Findings, limits: ReportLimits
) -> str:
    """Return the page, with as many points as its size allows."""
    while True:
        page = render(report_data(run, collection, sample, findings, limits).to_json())
        if len(page.encode()) <= limits.page_bytes or not limits.points:
            return page
        limits = replace(limits, points=limits.points // 2)


def _reported(run: RunRecord, output: str, limits: ReportLimits) -> ReportedRun:
    """Return what the report says about a run."""
    record = run.to_json()
    labels, n_labels = largest_labels(output, run, limits.labels)
    return ReportedRun(
        output=output,
        images=storage.absolute(run.settings.images),
        rejected_csv=REJECTED_CSV,
        counts=run.counts,
        labels=labels,
        n_labels=n_labels,
        unlisted_folders=run.unlisted_folders,
        pca=PcaSummary(
            ratio=list(run.explained_variance_ratio),
            k=run.components,
            asked=_asked(run.settings),
            fitted_to=run.pca_fitted_to,
            applied=run.settings.pca_model is not None,
        ),
        summary=RunSummary(
            id=run.run,
            seconds=run.seconds,
            images_per_second=run.images_per_second,
            settings=record["settings"],
            model=record["model"],
            versions=run.versions,
            validation=run.validation,
        ),
    )


def _asked(settings: Settings) -> str:
    if settings.pca_model is not None:
        return f"the basis in {settings.pca_model}"
    if settings.variance is not None:
        return f"{settings.variance:g} of the variance"
    return f"{settings.components or DEFAULT_COMPONENTS} components"

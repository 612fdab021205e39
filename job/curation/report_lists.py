"""Findings in, the tables of the CSV files beside the report out; these list all that was found."""

from typing import Any

import pyarrow as pa

from job.curation.findings import Findings
from job.curation.sampling import ImageSample

LABEL_ISSUES_CSV, NEAR_DUPLICATES_CSV, OUTLIERS_CSV = "report_suspects.csv", "report_copies.csv", "report_outliers.csv"
SCHEMAS = {
    LABEL_ISSUES_CSV: pa.schema(
        [("path", pa.string()), ("label", pa.string()), ("suggested", pa.string()), ("share", pa.float64())]
    ),
    NEAR_DUPLICATES_CSV: pa.schema(
        [("path", pa.string()), ("other", pa.string()), ("kind", pa.string()), ("difference", pa.float64())]
    ),
    OUTLIERS_CSV: pa.schema([("path", pa.string()), ("label", pa.string()), ("score", pa.float64())]),
}


def report_lists(sample: ImageSample, findings: Findings) -> dict[str, pa.Table]:
    """Return the tables by the names of their files."""
    paths, labels, names = sample.paths, sample.labels, findings.label_names
    rows: dict[str, list[tuple[Any, ...]]] = {
        LABEL_ISSUES_CSV: [
            (paths[issue.image], labels[issue.image], names[issue.suggested], issue.share)
            for issue in findings.label_issues
        ],
        NEAR_DUPLICATES_CSV: [
            (paths[pair.first], paths[pair.second], pair.kind, pair.difference) for pair in findings.near_duplicates
        ],
        OUTLIERS_CSV: [(paths[outlier.image], labels[outlier.image], outlier.score) for outlier in findings.outliers],
    }
    return {
        name: pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows[name]], schema)
        for name, schema in SCHEMAS.items()
    }

"""Results in; a table for a terminal, JSON, CSV or an HTML page out."""

import base64
import html
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow as pa

from job import storage
from job.images.rejection import Rejected
from job.results.csv_files import csv_text
from job.settings import DEFAULT_MAX_PIXELS
from lookup.page import page_file
from lookup.queries import QueryResult
from lookup.thumbnail import Thumbnailer

_THUMBNAIL_SIDE = 96
_CSV_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("nearest", pa.string()),
        ("nearest_label", pa.string()),
        ("similarity", pa.float64()),
        ("error", pa.string()),
    ]
)


def as_table(results: Sequence[QueryResult]) -> str:
    """Return lines for a terminal: one for each image, then one for each of its neighbors."""
    return "\n".join("\n".join(_lines(result)) for result in results)


def _lines(result: QueryResult) -> Iterator[str]:
    yield f"{printable(result.path)}{': ' if result.error or result.prediction else ''}{_verdict(result)}"
    if not result.neighbors:
        return
    labels = [printable(neighbor.label or "-") for neighbor in result.neighbors]
    width = max(len("label"), *map(len, labels))
    yield f"  similarity  {'label':<{width}}  path"
    for neighbor, label in zip(result.neighbors, labels, strict=True):
        yield f"  {neighbor.similarity:10.3f}  {label:<{width}}  {printable(neighbor.path)}"


def _verdict(result: QueryResult) -> str:
    if result.error:
        return f"cannot be used: {printable(result.error)}"
    if not result.prediction:
        return ""
    if result.prediction.label is None:
        return "unknown"
    return f"{printable(result.prediction.label)}, confidence {result.prediction.confidence:.3f}"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: each character that is not printable becomes its escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def as_json(results: Sequence[QueryResult]) -> str:
    """Return a JSON list with an object for each image."""
    return json.dumps([result.to_json() for result in results], indent=2, ensure_ascii=False)


def as_csv(results: Sequence[QueryResult]) -> str:
    """Return a header and a line for each image, separated by `;`; formulas of spreadsheets are made harmless."""
    rows = [
        {
            "path": result.path,
            "label": result.prediction.label if result.prediction else None,
            "confidence": round(result.prediction.confidence, 4) if result.prediction else None,
            "nearest": result.neighbors[0].path if result.neighbors else None,
            "nearest_label": result.neighbors[0].label if result.neighbors else None,
            "similarity": round(result.neighbors[0].similarity, 6) if result.neighbors else None,
            "error": result.error,
        }
        for result in results
    ]
    return csv_text(pa.Table.from_pylist(rows, _CSV_SCHEMA)).removesuffix("\n")


def as_html(results: Sequence[QueryResult]) -> str:
    """Return a self-contained page with thumbnails."""
    with Thumbnailer(_THUMBNAIL_SIDE, DEFAULT_MAX_PIXELS) as thumbnailer:
        sections = "\n".join(_section(result, thumbnailer) for result in results)
    page = page_file("results.html").replace("{{styles}}", page_file("results.css"))
    return page.replace("{{sections}}", sections)


def _section(result: QueryResult, thumbnailer: Thumbnailer) -> str:
    items = "\n".join(
        f"<li>{_image(neighbor.path, thumbnailer)}<strong>{html.escape(neighbor.label or 'without label')}</strong>"
        f" {neighbor.similarity:.3f} <small>{html.escape(neighbor.path)}</small></li>"
        for neighbor in result.neighbors
    )
    image, verdict = _image(result.path, thumbnailer), html.escape(_verdict(result))
    return f"<section><h2>{image} {verdict} <small>{html.escape(result.path)}</small></h2>\n<ol>{items}</ol></section>"


def _image(path: str, thumbnailer: Thumbnailer) -> str:
    """Return a thumbnail as an element of a page, empty where the image is gone or cannot be decoded."""
    with suppress(OSError, Rejected):
        small = base64.b64encode(thumbnailer.thumbnail(storage.read(path))).decode()
        return f'<img alt="" src="data:image/jpeg;base64,{small}">'
    return ""

"""Answers in; a table for a terminal, JSON, CSV or an HTML page out."""

import base64
import html
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from job import storage
from job.images.decode import Rejected
from job.images.sandbox import Decoder
from job.results.csv_files import csv_text
from job.settings import DEFAULT_MAX_PIXELS
from lookup.classifier import Answer, Neighbour
from lookup.thumbnail import thumbnail, thumbnails

_TILE = 96
_CSV = pa.schema(
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


@dataclass(frozen=True)
class Told:
    """What is told of one picture that was asked about.

    Attributes
    ----------
    path : str
    neighbours : list of Neighbour
        The nearest first; none where the picture cannot be used.
    answer : Answer, optional
        What it shows, where that was asked.
    error : str, optional
        Why the picture cannot be used.
    """

    path: str
    neighbours: list[Neighbour]
    answer: Answer | None = None
    error: str | None = None


def as_table(all_told: Sequence[Told]) -> str:
    """Return what a terminal shows: for each picture a line, then a line for each neighbour."""
    return "\n".join("\n".join(_lines(told)) for told in all_told)


def _lines(told: Told) -> Iterator[str]:
    yield f"{plain(told.path)}{': ' if told.error or told.answer else ''}{_verdict(told)}"
    if not told.neighbours:
        return
    labels = [plain(one.label or "-") for one in told.neighbours]
    width = max(len("label"), *map(len, labels))
    yield f"  similarity  {'label':<{width}}  path"
    for one, label in zip(told.neighbours, labels, strict=True):
        yield f"  {one.similarity:10.3f}  {label:<{width}}  {plain(one.path)}"


def _verdict(told: Told) -> str:
    if told.error:
        return f"cannot be used: {plain(told.error)}"
    if not told.answer:
        return ""
    if told.answer.label is None:
        return "unknown"
    return f"{plain(told.answer.label)}, confidence {told.answer.confidence:.3f}"


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: what is not printable as its escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def as_json(all_told: Sequence[Told]) -> str:
    """Return a JSON list with an object for each picture; the keys are the README's."""
    return json.dumps([_fields(told) for told in all_told], indent=2, ensure_ascii=False)


def _fields(told: Told) -> dict[str, object]:
    fields: dict[str, object] = {"path": told.path}
    if told.answer:
        fields |= {"label": told.answer.label, "confidence": round(told.answer.confidence, 4)}
    fields["neighbours"] = [one.as_dict() for one in told.neighbours]
    return fields | ({"error": told.error} if told.error else {})


def as_csv(all_told: Sequence[Told]) -> str:
    """Return a header and a line for each picture, separated by `;`; what a spreadsheet would run is made harmless."""
    rows = [
        {
            "path": told.path,
            "label": told.answer.label if told.answer else None,
            "confidence": round(told.answer.confidence, 4) if told.answer else None,
            "nearest": told.neighbours[0].path if told.neighbours else None,
            "nearest_label": told.neighbours[0].label if told.neighbours else None,
            "similarity": round(told.neighbours[0].similarity, 6) if told.neighbours else None,
            "error": told.error,
        }
        for told in all_told
    ]
    return csv_text(pa.Table.from_pylist(rows, _CSV)).removesuffix("\n")


def as_html(all_told: Sequence[Told]) -> str:
    """Return a page that needs nothing but itself, with thumbnails."""
    with thumbnails(_TILE, DEFAULT_MAX_PIXELS) as decoder:
        sections = "\n".join(_section(told, decoder) for told in all_told)
    return _HTML.replace("{{sections}}", sections)


def _section(told: Told, decoder: Decoder) -> str:
    items = "\n".join(
        f"<li>{_image(one.path, decoder)}<strong>{html.escape(one.label or 'without label')}</strong>"
        f" {one.similarity:.3f} <small>{html.escape(one.path)}</small></li>"
        for one in told.neighbours
    )
    verdict = html.escape(_verdict(told))
    return (
        f"<section><h2>{_image(told.path, decoder)} {verdict} <small>{html.escape(told.path)}</small></h2>\n"
        f"<ol>{items}</ol></section>"
    )


def _image(path: str, decoder: Decoder) -> str:
    """Return a thumbnail as an element of a page, empty where the picture is gone or cannot be decoded."""
    with suppress(OSError, Rejected):
        small = base64.b64encode(thumbnail(decoder, storage.read(path))).decode()
        return f'<img alt="" src="data:image/jpeg;base64,{small}">'
    return ""


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Nearest pictures</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; display: flex; gap: .75rem; align-items: center; flex-wrap: wrap; }
small { font-weight: normal; font-size: .8rem; opacity: .75; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .75rem; padding: 0;
  list-style: none; }
li small { display: block; }
img { display: block; width: 96px; height: 96px; }
section { border-top: 1px solid; padding: .5rem 0 1rem; }
</style>
</head>
<body>
<h1>Nearest pictures</h1>
{{sections}}
</body>
</html>
"""

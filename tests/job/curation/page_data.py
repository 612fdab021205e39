"""Data for the report's page, made up: any number of points, labels and components; tiles show their number."""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<b>bold</b> <a href='javascript:alert(3)'>link</a>",
    'תפוח "אדום"',
    "it's & \u202e reversed",
    "</script><script>alert(4)</script>",
]


def tiles(hues: list[int], side: int = 48, columns: int = 40, rows: int = 25) -> dict[str, Any]:
    """Return sheets of tiles, each with its point's number on a color of its label."""
    sheets = []
    for start in range(0, len(hues), columns * rows):
        part = hues[start : start + columns * rows]
        sheet = Image.new("RGB", (columns * side, math.ceil(len(part) / columns) * side), "white")
        draw = ImageDraw.Draw(sheet)
        for cell, hue in enumerate(part):
            left, top = cell % columns * side, cell // columns * side
            draw.ellipse((left + 3, top + 3, left + side - 3, top + side - 3), fill=f"hsl({hue * 47 % 360}, 60%, 60%)")
            draw.text((left + 12, top + 18), str(start + cell), fill="black")
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=60)
        sheets.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())
    return {"side": side, "columns": columns, "rows": rows, "sheets": sheets}


def page_data(
    images: int = 496, labels: int = 12, components: int = 50, *, names: list[str] | None = None, sample_of: int = 0
) -> dict[str, Any]:
    """Return data for the page.

    Parameters
    ----------
    labels : int
        Without any, all images lie directly under the root.
    names : list of str
        The first labels' names, which are also in the paths.
    sample_of : int
        Number of usable images, where the points are only a part of them.
    """
    random = np.random.default_rng(7)
    known = [*(names or []), *(f"Fruit {number}" for number in range(labels))][:labels]
    label = random.integers(labels, size=images).tolist() if labels else [-1] * images
    centres = random.normal(size=(labels + 1, components)) * 3
    vectors = (centres[label] + random.normal(size=(images, components))) * np.geomspace(4, 0.2, components)
    vectors = vectors - vectors.mean(axis=0)
    scale = np.abs(vectors).max(axis=0) / 32767
    variance = (vectors**2).sum(axis=0) + 1e-9
    ratio = 0.9 * variance / variance.sum()
    order = np.argsort(vectors, axis=0)
    path = [f"{known[index]}/{point}.jpg" if index >= 0 else f"{point}.jpg" for point, index in enumerate(label)]
    called = [known[index] if index >= 0 else None for index in label]
    counts = sorted(((name, called.count(name)) for name in {*called}), key=lambda pair: (-pair[1], str(pair[0])))
    of = sample_of or images
    highlighted = min(images, 20)
    by_label = [(known.index(name), n) for name, n in counts[:50] if name is not None]
    separation = {
        "accuracy": {"value": 0.97, "low": 0.95, "high": 0.98},
        "images": images,
        "labels": labels,
        "by_label": [
            {"label": label, "images": n, "right": n - n // (row + 4)} for row, (label, n) in enumerate(by_label)
        ],
    }
    near_duplicates = [
        {"first": 0, "second": 1, "kind": "same bytes", "difference": 0.0},
        {"first": 0, "second": 2, "kind": "same picture", "difference": 0.42},
    ]
    return {
        "made": "2026-11-25T10:00:00Z",
        "output": "/data/somewhere/with/a/rather/long/name/results",
        "counts": {"listed": of + 4, "reused": of // 4, "new": of + 4 - of // 4, "ok": of, "rejected": 4},
        "labels": counts[:1000],
        "other_labels": max(0, len(counts) - 1000),
        "sizes": [[100, 100, images - highlighted // 2], [640, 480, highlighted - highlighted // 2]],
        "other_sizes": 3,
        "rejections": [
            {
                "reason": "truncated",
                "count": 3,
                "paths": [f"/data/fruit/{(names or ['Fruit'])[0]}/cut {i}.jpg" for i in range(3)],
            },
            {
                "reason": "not an image",
                "count": 1,
                "paths": ["/data/fruit/" + "a-very-long-folder-name/" * 12 + "notes.jpg"],
            },
        ],
        "pca": {
            "ratio": ratio.tolist(),
            "k": components,
            "asked": f"{components} components",
            "fitted_to": of,
            "applied": False,
        },
        "sample": {"usable": of, "compared": min(of, 4 * images), "shown": images, "missing": 0},
        "points": {
            "prefix": "/data/fruit/",
            "path": path,
            "label": label,
            "names": known,
            "components": components,
            "coordinates": base64.b64encode(np.round(vectors / scale).astype("<i2").tobytes()).decode(),
            "scale": scale.tolist(),
        },
        "tiles": tiles(label),
        "separation": separation if labels > 1 else None,
        "separation_note": None if labels > 1 else "Fewer than two labels have images.",
        "highlights": {
            "component_ends": [
                {"low": order[:6, i].tolist(), "high": order[::-1][:6, i].tolist()} for i in range(min(6, components))
            ],
            "confusions": [
                {"label": i, "other": i + 1, "count": 4, "total": 164, "examples": [[i, i + 1], [i + 2, i]]}
                for i in range(min(labels - 1, images - 2, 5))
            ],
            "label_issues": [
                {"image": i, "suggested": (label[i] + 1) % labels, "share": 0.9 - i / 100}
                for i in range(highlighted if labels > 1 else 0)
            ],
            "near_duplicates": near_duplicates if images > 2 else [],
            "outliers": [{"image": i, "score": 3.2 - i / 20} for i in range(min(highlighted, 5))],
        },
        "totals": {"label_issues": 60, "near_duplicates": 3, "outliers": 2},
        "files": {
            "label_issues": "report_suspects.csv",
            "near_duplicates": "report_copies.csv",
            "outliers": "report_outliers.csv",
        },
        "rejected_csv": "rejected.csv",
        "unlisted_folders": {"count": 21, "names": [f"/data/fruit/lost+found-{n}" for n in range(20)]},
        "run": {
            "id": "20261125T095912-4fd1",
            "seconds": {"list": 0.1, "featurize": 30.2, "reduce": 2.4, "write": 1.1, "report": 3.0},
            "images_per_second": 180.0,
            "settings": {"images": "/data/fruit", "components": "50", "limit": None, "cores": 2},
            "model": {"name": "MobileNetV2", "alpha": 1.0, "size": 224, "sha256": "0c" * 32},
            "versions": {"python": "3.11.2", "pyspark": "4.0.1", "numpy": "2.3.4"},
            "validation": {"check": "right"},
        },
    }

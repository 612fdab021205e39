"""The report's data in, a page that needs nothing but itself out.

Names and paths in the data stay data: they never become markup.
"""

import json
from typing import Any

from job.curation.page import page_file


def render(data: dict[str, Any]) -> str:
    """Return the page that shows the data, JSON-ready values."""
    # In JSON the escapes of these three mean the same, and no text can end the element that contains it.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    contents = {
        "{{css}}": page_file("base.css") + page_file("report.css"),
        "{{plotly}}": page_file("plotly-basic.min.js"),
        "{{script}}": page_file("report.js"),
        "{{data}}": text,
    }
    lines = page_file("report.html").splitlines()
    return "\n".join(contents.get(line.strip(), line) for line in lines) + "\n"

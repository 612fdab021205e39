"""The service's log: one JSON object a line, on standard error."""

import json
import logging
import os
from datetime import UTC, datetime

from job.progress import Progress

# A descriptor of its own: loading a model silences standard error for a while, but not the log.
_STANDARD_ERROR = os.dup(2)


def write_line(**fields: object) -> None:
    """Write one line with the time and these fields."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
    os.write(_STANDARD_ERROR, (json.dumps(line) + "\n").encode())


class LogProgress(Progress):
    """Reports progress in the log."""

    def say(self, text: str) -> None:
        """Write one line."""
        write_line(message=text)


class JsonHandler(logging.Handler):
    """Writes the messages of libraries in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        write_line(level=record.levelname.lower(), logger=record.name, message=record.getMessage())

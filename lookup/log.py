"""The service's log: one JSON object a line, on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime


def tell(**what: object) -> None:
    """Write one line with the time and what is told."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **what}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def handler() -> logging.Handler:
    """Return what puts the messages of libraries into the same form."""
    return _Lines()


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(level=record.levelname.lower(), logger=record.name, message=record.getMessage())

"""The service's log: one JSON object a line, on standard error."""

import json
import logging
import os
from datetime import UTC, datetime

from job.progress import Progress

# Our own: what is quiet for a while, when a model is loaded, must not swallow the log.
_STANDARD_ERROR = os.dup(2)


def tell(**what: object) -> None:
    """Write one line with the time and what is told."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **what}
    os.write(_STANDARD_ERROR, (json.dumps(line) + "\n").encode())


class LogProgress(Progress):
    """Says in the log what is going on."""

    def say(self, text: str) -> None:
        """Write one line."""
        tell(message=text)


def handler() -> logging.Handler:
    """Return what puts the messages of libraries into the same form."""
    return _Lines()


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(level=record.levelname.lower(), logger=record.name, message=record.getMessage())

"""The frame of every command: whatever ends it becomes one line on standard error and an exit status."""

import argparse
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from job import __version__
from job.errors import JobError, ReportError, RunError

INTERRUPTED = 130


@dataclass(frozen=True)
class Log:
    """The file of a command's details: tracebacks, and what Spark and its workers say."""

    path: Path
    verbose: bool = False


def new_log(folder: Path | None = None, *, verbose: bool = False) -> Log:
    """Return a log named by time and process in a folder, by default one of this user's; nothing is created yet."""
    folder = folder or _log_folder()
    return Log(folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log", verbose)


def _log_folder() -> Path:
    """Return the user's folder for logs (XDG Base Directory Specification), else a new temporary one."""
    home = os.path.expanduser("~/.local/state")  # noqa: PTH111 - Path's own raises where there is no home
    folder = Path(os.environ.get("XDG_STATE_HOME") or home, "fruits")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK) and folder.is_absolute():
        return folder
    return Path(tempfile.gettempdir(), f"fruits-{secrets.token_hex(8)}")


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give a command the option `--version`."""
    parser.add_argument("--version", action="version", version=f"fruits {__version__}")


def exit_status(
    command: Callable[[], int | None], log: Log, *, interrupted: str = "interrupted", reader_gone: int = 0
) -> int:
    """Run a command and return its exit status; errors are printed as one line on standard error.

    Parameters
    ----------
    command : callable
        What the command does; it returns its exit status, None for 0.
    log : Log
        Where the traceback of an unexpected error goes; on the terminal as well if the log is verbose.
    interrupted : str
        What to say after Ctrl-C.
    reader_gone : int
        Exit status where the reader of standard output has gone, as `head` does.

    Returns
    -------
    int
        0, the status of a `JobError` (2 for bad input, 1 for a failed run, 3 for a failed report), 130 after Ctrl-C,
        1 for anything else.
    """
    try:
        return command() or 0
    except JobError as error:
        if isinstance(error, ReportError):  # its cause may be anything
            _keep_traceback(log)
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail(interrupted, INTERRUPTED)
    except BrokenPipeError:
        # Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return reader_gone
    except Exception as error:  # noqa: BLE001 - the last resort: one line for people, the rest to the log
        _keep_traceback(log)
        return _fail(f"{type(error).__name__}: {error} (details: {log.path})", RunError.exit_status)


def _keep_traceback(log: Log) -> None:
    log.path.parent.mkdir(parents=True, exist_ok=True)
    with log.path.open("a") as file:
        traceback.print_exc(file=file)
    if log.verbose:
        traceback.print_exc()


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status

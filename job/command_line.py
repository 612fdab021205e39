"""The frame of every command: whatever ends it becomes one line on standard error and an exit status."""

import argparse
import os
import secrets
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from job import __version__
from job.errors import JobError, ReportError, RunError

INTERRUPTED = 130


@dataclass(frozen=True)
class Log:
    """The file of a command's details: tracebacks, and what Spark and its workers say.

    Attributes
    ----------
    path : Path
    verbose : bool
        Whether the terminal shows them as well.
    private : bool
        Whether its folder is made for this user alone.
    """

    path: Path
    verbose: bool = False
    private: bool = False

    def open(self) -> BinaryIO:
        """Open the file to append to it; make its folder first."""
        self.path.parent.mkdir(0o700 if self.private else 0o777, parents=True, exist_ok=True)
        return self.path.open("ab")


def new_log(folder: Path | None = None, *, verbose: bool = False) -> Log:
    """Return a log named by time and process in a folder, by default one of this user's; nothing is created yet."""
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"
    return Log((folder or _user_folder()) / name, verbose, private=folder is None)


def _user_folder() -> Path:
    """Return the user's folder for logs (XDG Base Directory Specification), else a new temporary one."""
    state = os.environ.get("XDG_STATE_HOME")
    home = Path(state or os.path.expanduser("~"))  # noqa: PTH111 - Path's own raises where there is no home
    folder = home / "fruits" if state else home / ".local" / "state" / "fruits"
    # In a home that others write to, such as /tmp, a folder of ours may be reached by a link of theirs.
    if home.is_absolute() and _is_own(home) and _is_own(folder):
        return folder
    return Path(tempfile.gettempdir(), f"fruits-{secrets.token_hex(8)}")


def _is_own(path: Path) -> bool:
    """Return whether a folder, or the nearest to make it in, is this user's, who alone can write to it."""
    try:
        nearest = next(each for each in (path, *path.parents) if each.exists())
        found = nearest.stat()
    except OSError:  # it is in a folder that this user may not look into, or its name is too long
        return False
    private = found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH
    return private and nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


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
    with log.open() as file:
        file.write(traceback.format_exc().encode(errors="backslashreplace"))
    if log.verbose:
        traceback.print_exc()


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status

"""Reading what a newer run may replace meanwhile: the answer is of one version, whole."""

from collections.abc import Callable
from typing import TypeVar

from job.errors import JobError, RunError

V = TypeVar("V")
T = TypeVar("T")

# How often a reader begins, where one version after the other is replaced.
READS = 5


def read_whole(version: Callable[[], V], read: Callable[[V], T], gone: type[JobError], subject: str) -> T:
    """Read the current version, and begin again on the newer one where it is replaced meanwhile.

    Parameters
    ----------
    version : callable
        Returns the current version.
    read : callable
        Reads a version; raises `gone` where its files are not there any more.
    gone : type
        Raised again where the version is still the current one.
    subject : str
        What is read, in the plural, for the error.

    Raises
    ------
    RunError
        Where it was replaced each time.
    """
    for _ in range(READS):
        current = version()
        try:
            return read(current)
        except gone:
            if version() == current:
                raise
    raise RunError(f"{subject} were replaced {READS} times while they were read; read them again")

"""A reader that a newer version overtakes: it begins again, or says why it cannot."""

import pytest

from job.errors import JobError, RunError
from job.features.rereading import READS, read_whole


class GoneError(JobError):
    """What a reader raises whose files are not there any more."""


class Versions:
    """Versions that replace each other while they are read, so many times."""

    def __init__(self, replacements: int) -> None:
        self.current, self._left = 0, replacements

    def read(self, version: int) -> str:
        if self._left:
            self._left -= 1
            self.current += 1
        if version != self.current:
            raise GoneError(f"version {version} is gone")
        return f"all of version {version}"


def read(versions: Versions) -> str:
    return read_whole(lambda: versions.current, versions.read, GoneError, "the things in /x")


@pytest.mark.parametrize("replacements", [0, 1, READS - 1])
def test_the_answer_is_of_the_version_that_was_whole(replacements: int) -> None:
    assert read(Versions(replacements)) == f"all of version {replacements}"


def test_what_is_replaced_each_time_is_an_error() -> None:
    with pytest.raises(
        RunError, match=r"^the things in /x were replaced 5 times while they were read; read them again$"
    ):
        read(Versions(READS))


def test_what_is_gone_and_still_current_is_gone() -> None:
    def gone(version: int) -> str:
        raise GoneError(f"version {version} is gone")

    with pytest.raises(GoneError, match=r"^version 0 is gone$"):
        read_whole(lambda: 0, gone, GoneError, "the things in /x")

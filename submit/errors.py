"""The errors of `python -m submit`: one line each, with an exit status that scripts can rely on."""

from job.errors import JobError, RunError


class UnavailableError(JobError):
    """AWS cannot be reached, throttles or reports an internal error: trying again may help."""


class ExpiredError(JobError):
    """The credentials are no longer valid."""


class DeniedError(JobError):
    """An action is not allowed."""


class CancelledError(RunError):
    """The run was cancelled."""

    exit_status = 3


class TimedOutError(RunError):
    """The service ended the run because it took too long."""

    exit_status = 4


class LeftError(RunError):
    """The run could not be followed to its end; how it ends is not known."""

    exit_status = 5

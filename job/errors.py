"""The errors that a user may see: one line each, and an exit status that scripts can trust."""


class JobError(Exception):
    """Input that cannot be used, or a machine that lacks something: one line that says what to do."""

    exit_status = 2


class RunError(JobError):
    """A run that started and could not finish, or whose results did not pass validation."""

    exit_status = 1


class ReportError(RunError):
    """A report that could not be made, of results that are in place."""

    exit_status = 3

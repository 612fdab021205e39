"""The errors a user may see: one line each, with the exit status that scripts can trust."""


class JobError(Exception):
    """Something given that cannot be used, or a machine that lacks something. One line that says what to do."""

    exit_status = 2


class RunError(JobError):
    """The run was started and could not be finished, or what it wrote did not pass validation."""

    exit_status = 1

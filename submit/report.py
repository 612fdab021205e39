"""What people are told of a run: a run, its results and its log in, lines out."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from job.errors import RunError
from submit import cost, results
from submit.errors import CancelledError, TimedOutError
from submit.logs import DriverLog
from submit.run import Run

# A clock in AWS may be so far from another.
CLOCK = timedelta(minutes=5)


def lines(run: Run, output: str, told: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return what is known of a run, by name; `told` is what `run.json` says now at its output."""
    known = {"run": run.id, "state": str(run), "submitted": run.created.strftime("%Y-%m-%d %H:%M:%S %Z")}
    if told is not None and _is_of(told, run):
        known["images"] = results.counts(told)
    if run.state == "SUCCESS":
        known["results"] = output
    if run.seconds is not None:
        known["time"] = duration(run.seconds)
    return known | {"billed": billed(run)}


def billed(run: Run) -> str:
    """Return what a run was billed, with its price."""
    if run.usage is None:
        return f"not known yet; later by python -m submit cost {run.id}"
    return f"{run.usage}, {cost.BASIS}"


def failure(run: Run, log: DriverLog) -> RunError:
    """Return why a run that has ended is no success, in the job's own words where there are any."""
    if run.timed_out:
        minutes = f" of {run.timeout_minutes:,} minutes" if run.timeout_minutes is not None else ""
        return TimedOutError(
            f"the run {run.id} was ended by the service at its time-out{minutes}; what was committed stays: submit"
            f" again to go on, with a larger --timeout-minutes or --max-executors; log: {log.address}"
        )
    if run.state == "CANCELLED":
        return CancelledError(f"the run {run.id} was cancelled; what was committed stays: submit again to go on")
    why = "\n  ".join(log.why())
    why = why.removeprefix("error: ") or run.details or "without a word"
    return RunError(f"the run {run.id} failed: {why}\n  log: {log.address}")


def duration(seconds: float) -> str:
    """Return `1 h 2 min 3 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _is_of(told: Mapping[str, Any], run: Run) -> bool:
    """Whether `run.json` was written while this run was at work."""
    written = told["written"]
    return bool(run.created - CLOCK <= written and (run.ended is None or written <= run.ended + CLOCK))

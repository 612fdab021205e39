"""Text about runs: a run, its results and its log in, lines and errors out."""

from datetime import timedelta

from job.errors import RunError
from job.progress import duration
from submit import cost
from submit.errors import CancelledError, TimedOutError
from submit.logs import DriverLog
from submit.results import CurrentResults
from submit.run import Run, RunState

# Clocks of AWS services may differ by this much.
CLOCK = timedelta(minutes=5)


def lines(run: Run, output: str, results: CurrentResults | None = None) -> dict[str, str]:
    """Return what is known of a run, by name; `results` are those at its output now."""
    known = {"run": run.id, "state": str(run), "submitted": run.created.strftime("%Y-%m-%d %H:%M:%S %Z")}
    if results is not None and _written_by(run, results):
        known["images"] = str(results.counts)
    if run.succeeded:
        known["results"] = output
    if run.seconds is not None:
        known["time"] = duration(run.seconds)
    return known | {"billed": billed(run)}


def billed(run: Run) -> str:
    """Return what a run was billed, with its price."""
    if run.usage is None:
        return f"not known yet; ask later with python -m submit cost {run.id}"
    return f"{run.usage}, {cost.BASIS}"


def failure(run: Run, log: DriverLog) -> RunError:
    """Return the error for a run that ended without success, in the job's own words where there are any."""
    if run.timed_out:
        minutes = f" of {run.timeout_minutes:,} minutes" if run.timeout_minutes is not None else ""
        return TimedOutError(
            f"the service ended the run {run.id} at its time-out{minutes}; what was committed stays: submit again to go"
            f" on, with a larger --timeout-minutes or --max-executors; log: {log.address}"
        )
    if run.state == RunState.CANCELLED:
        return CancelledError(f"the run {run.id} was cancelled; what was committed stays: submit again to go on")
    why = "\n  ".join(log.why())
    why = why.removeprefix("error: ") or run.details or "neither its log nor the service says why"
    return RunError(f"the run {run.id} failed: {why}\n  log: {log.address}")


def _written_by(run: Run, results: CurrentResults) -> bool:
    """Whether results were written while this run was at work."""
    written = results.written
    return run.created - CLOCK <= written and (run.ended is None or written <= run.ended + CLOCK)

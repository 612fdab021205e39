"""A run followed to its end: its states and its log in, lines for the terminal out, through faults of the network."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from job.errors import JobError
from submit.errors import ExpiredError, UnavailableError
from submit.interrupt import Interrupt
from submit.logs import DriverLog
from submit.patience import PATIENCE, Patience
from submit.run import WAITING, Run, Runs, RunState

T = TypeVar("T")


class Screen(Protocol):
    """Where lines go: `say` for messages of the submitter, `show` for output of the job and results."""

    def say(self, text: str) -> None:
        """Print a line for people."""

    def show(self, text: str) -> None:
        """Print a line of the results."""


@dataclass
class Follower:
    """Follows runs of one stack, cancels them on Ctrl-C, and asks again while AWS cannot be reached."""

    runs: Runs
    screen: Screen
    interrupt: Interrupt
    patience: Patience = PATIENCE
    _denied: set[str] = field(default_factory=set)

    def patiently(self, ask: Callable[[], T]) -> T:
        """Return the answer of AWS, asking again while it cannot be reached or throttles.

        Raises
        ------
        JobError
            The error that AWS answers, or `UnavailableError` once it has not answered for too long.
        """
        since = None
        while True:
            try:
                answer = ask()
            except UnavailableError as error:
                now = time.monotonic()
                if since is None:
                    since = now
                    self.screen.say(f"{error}; asking again, for {self.patience.lost / 60:.0f} minutes")
                if now - since > self.patience.lost:
                    raise
                self.interrupt.wait(self.patience.poll)
            else:
                if since is not None:
                    self.screen.say("AWS answers again")
                return answer

    def follow(self, run_id: str, log: DriverLog) -> Run:
        """Show the states and the log of a run until it has ended, and return it as it is then.

        Raises
        ------
        JobError
            Where the run cannot be followed any longer; it goes on.
        """
        shown, linked, cancelled = "", 0, False
        while True:
            run = self.patiently(partial(self.runs.get, run_id))
            if str(run) != shown:
                shown = str(run)
                self.screen.say(shown)
            if self.interrupt.asked and not cancelled and not run.final:
                self._cancel(run_id)
                cancelled = True
                continue
            if run.state == RunState.RUNNING and linked != run.attempt:
                linked = run.attempt
                self._optional(lambda: self.screen.say(f"Spark UI   {self.runs.link(run_id)}"))
            if run.state not in WAITING or run.attempt > 1:
                self._show(log, run)
            if run.final:
                run = self._end(run, log)
                if run.final:  # a failed attempt may be followed by another
                    return run
                continue
            self.interrupt.wait(self.patience.poll)

    def _cancel(self, run_id: str) -> None:
        try:
            self.screen.say(self.patiently(partial(self.runs.cancel, run_id)))
        except (UnavailableError, ExpiredError):
            raise
        except JobError as error:  # not allowed, or it has just ended
            self.screen.say(f"it could not be cancelled: {error}")

    def _end(self, run: Run, log: DriverLog) -> Run:
        """Wait for the last of the log and for the bill, which come late; return the run as it is then."""
        began, announced, late = time.monotonic(), False, self.runs.late_seconds
        while run.final:
            waited = time.monotonic() - began
            another = (
                run.state == RunState.FAILED and run.attempt < run.attempts and waited < self.patience.next_attempt
            )
            if not another and (self.interrupt.asked or waited >= late or self._complete(run, log)):
                break
            if not announced:
                announced = True
                self.screen.say(f"waiting for the last of the log and for the bill, {late:.0f} s at most")
            self.interrupt.wait(self.patience.poll)
            run = self.patiently(partial(self.runs.get, run.id))
            self._show(log, run)
        if run.final:
            self._show(log, run, ended=True)
        return run

    def _complete(self, run: Run, log: DriverLog) -> bool:
        if run.started is None:  # there is no log and no bill
            return True
        return run.usage is not None and (log.has_ended(run.state, run.attempt) or log.address in self._denied)

    def _show(self, log: DriverLog, run: Run, *, ended: bool = False) -> None:
        def look() -> None:
            for line in log.look(run.attempt, ended=ended):
                self.screen.show(line)

        self._optional(look, log.address, last=ended)

    def _optional(self, ask: Callable[[], object], what: str = "", *, last: bool = False) -> None:
        """Do something that a follower can do without; say once why it cannot be done."""
        if what in self._denied:
            return
        try:
            ask()
        except (UnavailableError, ExpiredError) as error:
            if last:  # else the next look or question reports it
                self.screen.say(str(error))
        except JobError as error:
            self._denied |= {what} if what else set()
            self.screen.say(str(error))

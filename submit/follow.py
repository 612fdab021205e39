"""A run followed to its end: its states and its log in, lines for the terminal out, whatever the network does."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from job.errors import JobError
from submit.errors import ExpiredError, UnavailableError
from submit.interrupt import Interrupt
from submit.logs import DriverLog
from submit.run import WAITING, Run, Runs

T = TypeVar("T")

POLL_SECONDS = 5.0
# After an attempt that failed the service may say so for a moment before it begins the next.
NEXT_ATTEMPT_SECONDS = 20.0
# AWS is asked for so long before it is given up; the run goes on either way.
LOST_SECONDS = 15 * 60.0


class Screen(Protocol):
    """Where lines go: `say` what the submitter has to say, `show` what the job said."""

    def say(self, text: str) -> None:
        """Print a line for people."""

    def show(self, text: str) -> None:
        """Print a line of the results."""


@dataclass
class Follower:
    """Follows runs of one stack, asks to cancel them on Ctrl-C, and does not give up lightly."""

    runs: Runs
    screen: Screen
    interrupt: Interrupt
    _denied: set[str] = field(default_factory=set)

    def patiently(self, ask: Callable[[], T]) -> T:
        """Return what AWS answers, asking again while it cannot be reached or is too busy.

        Raises
        ------
        JobError
            What AWS answers; `UnavailableError` once it did not for too long.
        """
        since = None
        while True:
            try:
                answer = ask()
            except UnavailableError as error:
                now = time.monotonic()
                if since is None:
                    since = now
                    self.screen.say(f"{error}; asking again, for {LOST_SECONDS / 60:.0f} minutes")
                if now - since > LOST_SECONDS:
                    raise
                self.interrupt.wait(POLL_SECONDS)
            else:
                if since is not None:
                    self.screen.say("AWS answers again")
                return answer

    def follow(self, run_id: str, log: DriverLog) -> Run:
        """Show what a run does until it has ended, and return what became of it.

        Raises
        ------
        JobError
            Where AWS no longer tells; the run itself goes on.
        """
        said, linked, cancelled = "", 0, False
        while True:
            run = self.patiently(partial(self.runs.get, run_id))
            if str(run) != said:
                said = str(run)
                self.screen.say(said)
            if self.interrupt.asked and not cancelled and not run.final:
                self._cancel(run_id)
                cancelled = True
                continue
            if run.state == "RUNNING" and linked != run.attempt:
                linked = run.attempt
                self._optional(lambda: self.screen.say(f"Spark UI   {self.runs.link(run_id)}"))
            if run.state not in WAITING or run.attempt > 1:
                self._show(log, run)
            if run.final:
                run = self._end(run, log)
                if run.final:  # a failed attempt may be followed by another
                    return run
                continue
            self.interrupt.wait(POLL_SECONDS)

    def _cancel(self, run_id: str) -> None:
        try:
            self.screen.say(self.patiently(partial(self.runs.cancel, run_id)))
        except (UnavailableError, ExpiredError):
            raise
        except JobError as error:  # not allowed, or it has just ended
            self.screen.say(f"it could not be cancelled: {error}")

    def _end(self, run: Run, log: DriverLog) -> Run:
        """Wait for the last of the log and for the bill, which come after the end; return the run as it is then."""
        began, said, late = time.monotonic(), False, self.runs.late_seconds
        while run.final:
            waited = time.monotonic() - began
            another = run.state == "FAILED" and run.attempt < run.attempts and waited < NEXT_ATTEMPT_SECONDS
            if not another and (self.interrupt.asked or waited >= late or self._complete(run, log)):
                break
            if not said:
                said = True
                self.screen.say(f"waiting for the last of the log and for the bill, {late:.0f} s at most")
            self.interrupt.wait(POLL_SECONDS)
            run = self.patiently(partial(self.runs.get, run.id))
            self._show(log, run)
        if run.final:
            self._show(log, run, ended=True)
        return run

    def _complete(self, run: Run, log: DriverLog) -> bool:
        if run.started is None:  # nothing was said, and nothing is billed
            return True
        return run.usage is not None and (log.has_ended(run.state, run.attempt) or log.address in self._denied)

    def _show(self, log: DriverLog, run: Run, *, ended: bool = False) -> None:
        def look() -> None:
            for line in log.look(run.attempt, ended=ended):
                self.screen.show(line)

        self._optional(look, log.address, last=ended)

    def _optional(self, ask: Callable[[], object], what: str = "", *, last: bool = False) -> None:
        """Do something that following can do without; say once why it cannot be done."""
        if what in self._denied:
            return
        try:
            ask()
        except (UnavailableError, ExpiredError) as error:
            if last:  # else the next look tells, or asking for the state
                self.screen.say(str(error))
        except JobError as error:
            self._denied |= {what} if what else set()
            self.screen.say(str(error))

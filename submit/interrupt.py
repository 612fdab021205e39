"""Ctrl-C while a run is followed: the first sets a flag, the second raises."""

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

from submit.patience import PATIENCE


class Interrupt:
    """A context in which the first Ctrl-C sets `asked` and prints a message, and the next raises KeyboardInterrupt.

    So Ctrl-C interrupts no request under way, above all not the one that starts a run.

    Parameters
    ----------
    message : str
        What to print at the first Ctrl-C.
    notice_seconds : float
        How soon a wait notices Ctrl-C.
    """

    def __init__(self, message: str, notice_seconds: float = PATIENCE.notice) -> None:
        self.asked = self._noticed = False
        self._message = message
        self._notice_seconds = notice_seconds
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        """Listen, unless Ctrl-C is to be ignored, as under nohup."""
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Restore the handler that was there before."""
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, f"\n{self._message}\n".encode())  # a print may be under way, which cannot be entered twice

    def wait(self, seconds: float) -> None:
        """Wait, at most until a Ctrl-C that no wait has noticed yet."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.asked == self._noticed:
            time.sleep(self._notice_seconds)
        self._noticed = self.asked

"""Ctrl-C while a run is followed: the first is noted, the second leaves."""

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

# How soon a Ctrl-C is heard.
STEP_SECONDS = 0.1


class Interrupt:
    """A context in which the first Ctrl-C sets `asked` and says what will be done; the next raises KeyboardInterrupt.

    So a request under way is not torn, the one that starts a run least of all.
    """

    def __init__(self, words: str) -> None:
        self.asked = self._heard = False
        self._words = words
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        """Listen, unless Ctrl-C is to be ignored, as under nohup."""
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave Ctrl-C to whom it was before."""
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, f"\n{self._words}\n".encode())  # print may be under way, and is not to be entered twice

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a Ctrl-C of which no wait knows yet."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.asked == self._heard:
            time.sleep(STEP_SECONDS)
        self._heard = self.asked

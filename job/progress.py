"""The progress of long work: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

LINE_SECONDS = 5.0


class Progress:
    """Reports on one stream how far work has come; silent without a stream.

    Parameters
    ----------
    stream : file, optional
        Where the lines or the bar go.
    clock : callable
        Returns seconds that only grow.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    def say(self, text: str) -> None:
        """Print one line."""
        if self._stream:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def counting(self, what: str, total: int, known: int = 0) -> Iterator[Callable[[int], None]]:
        """Show the progress of `total` images; yield the function that takes the number of images done so far.

        `known` images were done before this work began: they count as done, but not in the rate.
        """
        if self._stream is None or total == 0:
            yield lambda done: None
        elif self._stream.isatty():
            with _bar(self._stream, what, total, known) as update:
                yield update
        else:
            with self._lines(what, total, known) as update:
                yield update

    @contextmanager
    def _lines(self, what: str, total: int, known: int) -> Iterator[Callable[[int], None]]:
        start = printed = self._clock()
        latest = known

        def update(done: int) -> None:
            nonlocal printed, latest
            latest, now = done, self._clock()
            if now - printed >= LINE_SECONDS:
                printed = now
                self.say(f"{what}: {_state(done, total, known, now - start)}")

        yield update
        self.say(f"{what}: {_state(latest, total, known, self._clock() - start)}")


class Stopwatch:
    """Measures the steps of long work, one after the other.

    Attributes
    ----------
    seconds : dict
        Duration by step.
    """

    def __init__(self, earlier: Mapping[str, float] | None = None) -> None:
        self.seconds = dict(earlier or {})
        self._last = time.monotonic()

    def lap(self, step: str) -> None:
        """Record the time since the last lap as that of a step."""
        now = time.monotonic()
        self._last, self.seconds[step] = now, now - self._last

    def rounded(self) -> dict[str, float]:
        """Return the duration by step, to the millisecond."""
        return {step: round(value, 3) for step, value in self.seconds.items()}


def _state(done: int, total: int, known: int, seconds: float) -> str:
    """Return `1,200 of 5,000 images, 240 a second, 16 s left`."""
    text = f"{done:,} of {total:,} images"
    rate = (done - known) / max(seconds, 1e-9)
    if done > known:
        text += f", {rate:.0f} a second"  # no comma within: the dashboard in the cloud reads it as a number
    if known < done < total:
        text += f", {duration((total - done) / rate, coarse=True)} left"
    return text


def duration(seconds: float, *, coarse: bool = False) -> str:
    """Return `1 h 2 min 3 s`, without leading zeros; `coarse` drops the seconds once there are hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours and coarse:
        return f"{hours} h {minutes} min"
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def _bar(stream: TextIO, what: str, total: int, known: int) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm  # noqa: PLC0415 - only a terminal needs it

    with tqdm(total=total, initial=known, desc=what, unit=" images", unit_scale=False, file=stream) as bar:
        # Drawn at every report, so that the clock moves while tasks run.
        def update(done: int) -> None:
            bar.update(done - bar.n)
            bar.refresh()

        yield update


def terminal() -> Progress:
    """Return the progress of a command; it goes to standard error, as standard output is for results."""
    return Progress(sys.stderr)

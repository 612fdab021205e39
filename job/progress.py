"""How far long work has come: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

LINE_SECONDS = 5.0


class Progress:
    """Says on one stream what is going on. Silent where there is no stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Print one line."""
        if self._stream:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def counting(self, what: str, total: int, known: int = 0) -> Iterator[Callable[[int], None]]:
        """Show the progress of `total` images, and yield the function that takes how many are done.

        `known` of the total were done before, at no cost: they count as done, but not in the rate.
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
        start = said = time.monotonic()
        latest = known

        def update(done: int) -> None:
            nonlocal said, latest
            latest, now = done, time.monotonic()
            if now - said >= LINE_SECONDS:
                said = now
                self.say(f"{what}: {_state(done, total, known, now - start)}")

        yield update
        self.say(f"{what}: {_state(latest, total, known, time.monotonic() - start)}")


def _state(done: int, total: int, known: int, seconds: float) -> str:
    """Return `1,200 of 5,000 images, 240 a second, 16 s left`."""
    text = f"{done:,} of {total:,} images"
    rate = (done - known) / max(seconds, 1e-9)
    if done > known:
        text += f", {rate:.0f} a second"  # no comma within: the dashboard in the cloud reads it as a number
    if known < done < total:
        text += f", {_duration((total - done) / rate)} left"
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def _bar(stream: TextIO, what: str, total: int, known: int) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm  # noqa: PLC0415 - only a terminal needs it

    with tqdm(total=total, initial=known, desc=what, unit=" images", unit_scale=False, file=stream) as bar:
        # Drawn at every report, so that the clock moves while tasks are under way.
        def update(done: int) -> None:
            bar.update(done - bar.n)
            bar.refresh()

        yield update


def terminal() -> Progress:
    """Return the progress of a command: on standard error, so that standard output stays for results."""
    return Progress(sys.stderr)

"""The progress of long work, on a terminal and elsewhere."""

import io
import os
import pty
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from job.progress import Progress, _state, duration


def test_without_a_stream_nothing_is_said_and_work_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    silent = Progress()
    silent.say("words")
    with silent.counting("features", 10) as update:
        update(5)
    assert capfd.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_it_is_plain_lines_now_and_then() -> None:
    clock = [100.0]
    stream = io.StringIO()
    progress = Progress(stream, clock=lambda: clock[0])
    progress.say("first")
    with progress.counting("features", 5000) as update:
        for now, done in ((102.0, 400), (104.9, 1100), (105.0, 1200), (109.0, 2000), (110.5, 2310), (120.0, 5000)):
            clock[0] = now
            update(done)
    assert stream.getvalue().splitlines() == [
        "first",
        "features: 1,200 of 5,000 images, 240 a second, 16 s left",
        "features: 2,310 of 5,000 images, 220 a second, 12 s left",
        "features: 5,000 of 5,000 images, 250 a second",
        "features: 5,000 of 5,000 images, 250 a second",
    ]


@pytest.mark.parametrize(
    ("done", "total", "known", "seconds", "line"),
    [
        (0, 100, 0, 7.0, "0 of 100 images"),
        (1, 7201, 0, 1.0, "1 of 7,201 images, 1 a second, 2 h 0 min left"),
        (10, 610, 0, 5.0, "10 of 610 images, 2 a second, 5 min 0 s left"),
        (1, 60, 0, 1.0, "1 of 60 images, 1 a second, 59 s left"),
        (60, 100, 50, 5.0, "60 of 100 images, 2 a second, 20 s left"),  # 50 were known at no cost
        (50, 100, 50, 5.0, "50 of 100 images"),
    ],
)
def test_a_line_tells_images_rate_and_time_left(done: int, total: int, known: int, seconds: float, line: str) -> None:
    assert _state(done, total, known, seconds) == line


@pytest.mark.parametrize(
    ("seconds", "exact", "coarse"),
    [
        (0.4, "0 s", "0 s"),
        (59.6, "1 min 0 s", "1 min 0 s"),
        (3599.0, "59 min 59 s", "59 min 59 s"),
        (3723.0, "1 h 2 min 3 s", "1 h 2 min"),
    ],
)
def test_a_duration_begins_with_its_largest_unit(seconds: float, exact: str, coarse: str) -> None:
    assert duration(seconds) == exact
    assert duration(seconds, coarse=True) == coarse


def on_a_terminal(work: Callable[[Progress], None]) -> str:
    """Return what work shows on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        assert stream.isatty()
        work(Progress(stream))
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    return shown.decode()


def test_on_a_terminal_it_is_one_bar_that_is_drawn_again() -> None:
    def work(progress: Progress) -> None:
        with progress.counting("features", 200, known=20) as update:
            update(90)
            time.sleep(0.15)
            update(200)

    shown = on_a_terminal(work)
    assert shown.count("\n") == 1  # at the end
    drawn = shown.split("\r")
    assert len(drawn) > 3
    assert re.search(r"features:  10%\|.*\| 20/200 \[", shown)
    assert re.search(r"features:  45%\|.*\| 90/200 \[.*images/s\]", shown)
    assert re.search(r"features: 100%\|.*\| 200/200 \[.*images/s\]", drawn[-1] + drawn[-2])


def test_where_there_is_nothing_to_count_there_is_no_bar() -> None:
    def work(progress: Progress) -> None:
        progress.say("done")
        with progress.counting("features", 0) as update:
            update(0)

    assert on_a_terminal(work).split() == ["done"]


def test_what_is_said_is_there_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        Progress(stream).say("words")
        assert (tmp_path / "log").read_text() == "words\n"

"""`python -m submit` as a user has it before them: in a terminal, with a Ctrl-C to give."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.aws.cdk import ROOT, cdk_environment

CTRL_C = b"\x03"
# The first process of a session that opens a terminal has it as its own: without that Ctrl-C is but a letter.
OWNING = (
    "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR));"
    " os.execv(sys.executable, [sys.executable, '-m', 'submit', *sys.argv[1:]])"
)


@dataclass
class Told:
    """What a command said, and how it ended."""

    status: int = -1
    text: str = ""
    lines: list[str] = field(default_factory=list)


def submit(
    endpoint: str, *arguments: str, until: Callable[[str], bool] | None = None, seconds: float = 300, cwd: Path = ROOT
) -> Told:
    """Run the submitter in a terminal of its own.

    Parameters
    ----------
    endpoint : str
        Address of the server.
    *arguments : str
        Of the command.
    until : callable, optional
        Told all that was said so far; once it returns True, Ctrl-C is pressed.
    seconds : float
        After which it is killed.
    cwd : Path
        Where it runs.
    """
    ours, its = pty.openpty()
    environment = cdk_environment(endpoint) | {"TERM": "dumb", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-c", OWNING, *arguments],
        cwd=cwd,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    said, pressed, deadline = b"", False, time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                more = b""
                with suppress(OSError):  # nobody has the terminal any more
                    more = os.read(ours, 1 << 16)
                if not more:
                    break
                said += more
            if until and not pressed and until(said.decode(errors="replace")):
                pressed = True
                os.write(ours, CTRL_C)
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = said.decode(errors="replace").replace("\r\n", "\n")
    return Told(process.returncode, text, text.splitlines())

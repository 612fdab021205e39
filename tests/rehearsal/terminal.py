"""`python -m submit` in a terminal, with Ctrl-C."""

import os
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.aws.cdk import ROOT, cdk_environment
from tests.terminal import CTRL_C, start


@dataclass
class Transcript:
    """The output of a command, and its exit status."""

    status: int = -1
    text: str = ""
    lines: list[str] = field(default_factory=list)


def submit(
    endpoint: str, *arguments: str, until: Callable[[str], bool] | None = None, seconds: float = 300, cwd: Path = ROOT
) -> Transcript:
    """Run the submitter in a terminal of its own.

    Parameters
    ----------
    endpoint : str
        Address of the server.
    *arguments : str
        Of the command.
    until : callable, optional
        Called with all output so far; once it returns True, Ctrl-C is pressed.
    seconds : float
        After which it is killed.
    cwd : Path
        Where it runs.
    """
    environment = cdk_environment(endpoint) | {"TERM": "dumb", "COLUMNS": "200"}
    process, ours = start("-m", "submit", *arguments, cwd=cwd, env=environment)
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
    return Transcript(process.returncode, text, text.splitlines())

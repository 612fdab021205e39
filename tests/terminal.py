"""A process in a pseudo-terminal of its own, where Ctrl-C is a signal, as on a person's screen."""

import os
import pty
import subprocess
import sys
from typing import Any

CTRL_C = b"\x03"
# The first terminal that a new session opens is its own: from then on Ctrl-C is a signal. Where the tests themselves
# are started with that signal ignored, as under nohup, the process would inherit it.
_OWNING = (
    "import os, signal, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def start(*words: str, **how: Any) -> tuple["subprocess.Popen[bytes]", int]:
    """Start Python with these words (and `subprocess.Popen` with `how`); return it, and the keys and screen to it."""
    keys, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNING, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        **how,
    )
    os.close(theirs)
    return process, keys

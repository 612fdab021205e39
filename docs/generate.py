"""Write the pages that come from the code: `--help` of every command, and the settings of the stack.

    python -m docs.generate

The same code gives the same pages, on any machine: the width is fixed, and no page holds a path or a number of cores.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

from infra.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 100

Main = Callable[[Sequence[str]], int]

"""A checkout of its own to deploy from, so that the developer's `dist` is left alone; what has to be there first."""

import platform
import sys
from pathlib import Path

import pytest

from bootstrap.archive_check import find_python
from job.spark.java import find_java
from tests.aws.cdk import ROOT, need_cdk
from tests.infra.conftest import PARTS

# What `python -m bootstrap.package` heeds.
MODEL_VARIABLES = ("WEIGHTS", "ALPHA", "SIZE")


def checkout(folder: Path, built: Path | None = None) -> Path:
    """Return a folder that looks like this checkout.

    Parameters
    ----------
    folder : Path
        Where; it may be there from before.
    built : Path, optional
        What was built already; else it is built in the folder, and kept for the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        link = folder / part
        if not link.is_symlink():
            link.symlink_to(ROOT / part)
    if built is not None:
        (folder / "dist").symlink_to(built)
    return folder


def need_everything() -> None:
    """Skip, and say so, where cdk or Java is missing, or where this Python cannot run what is built for EMR's."""
    need_cdk()
    if find_java() is None:
        pytest.skip("SKIPPED, NOT PROVEN: needs Java 17 or 21")
    python, why_not = find_python("x86_64")
    if python is None:
        pytest.skip(f"SKIPPED, NOT PROVEN: {why_not}")
    if python != sys.executable:
        pytest.skip(f"SKIPPED, NOT PROVEN: the archive is for Python 3.11, this is {platform.python_version()}")

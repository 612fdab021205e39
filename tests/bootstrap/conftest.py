"""A copy of what `bootstrap.package` builds, for each test that changes it."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def dist(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the products, to be changed by replacing files: their content is shared with the original."""
    return Path(shutil.copytree(built, tmp_path / "dist", copy_function=os.link))

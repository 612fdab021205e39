"""Costly things that tests of this folder share: the sample's images, the archive unpacked, copies of the products."""

import os
import shutil
from pathlib import Path

import pytest

from bootstrap.archive_check import unpack
from bootstrap.sample import render_images

Sample = list[tuple[str, bytes]]


@pytest.fixture(scope="session")
def sample_images() -> Sample:
    """Return all images of the sample, rendered once: paths in the sample and JPEGs."""
    return list(render_images())


@pytest.fixture(scope="session")
def dependencies(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the dependency archive for x86_64 unpacked; not to be changed."""
    folder = tmp_path_factory.mktemp("dependencies")
    unpack(built / "dependencies-x86_64.tgz", folder)
    return folder


@pytest.fixture
def dist(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the products, to be changed by replacing files: their content is shared with the original."""
    return Path(shutil.copytree(built, tmp_path / "dist", copy_function=os.link))

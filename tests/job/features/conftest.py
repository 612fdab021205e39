"""An output, local and on S3."""

from pathlib import Path

import pytest


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "output")
    return f"s3://{request.getfixturevalue('bucket')}/output"

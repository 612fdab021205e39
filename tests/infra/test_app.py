"""The app as a command: what a newcomer reads who gives it something that cannot be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aws.cdk import need_cdk, run_cdk
from tests.infra.conftest import CONTEXT, MODEL, ROOT, cdk

pytestmark = pytest.mark.node

NOWHERE = "http://localhost:9"  # discard: nothing listens
NO_CREDENTIALS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def app(context: dict[str, Any], tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Run the app as cdk does, with a context, without anything built."""
    need_cdk()
    (tmp_path / "app.py").symlink_to(ROOT / "app.py")
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps(CONTEXT | context),
        "CDK_OUTDIR": str(tmp_path / "cdk.out"),
        "PYTHONPATH": str(ROOT),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
    return subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"regoin": "eu-west-1"}, "error: regoin is no setting of this stack; is region meant?"),
        ({"region": "eu-west-9"}, "error: region=eu-west-9 is unknown"),
        ({}, "build it: python -m bootstrap.package --architecture x86_64"),
    ],
)
def test_one_line_says_what_to_do(context: dict[str, Any], said: str, tmp_path: Path) -> None:
    done = app(context, tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert done.stdout == ""


def test_synthesis_needs_no_credentials(project: Path) -> None:
    done = run_cdk("synth", "--quiet", cwd=project, endpoint=NOWHERE, env=NO_CREDENTIALS | MODEL)
    assert done.returncode == 0, done.stdout
    assert (project / "cdk.out" / "fruits.template.json").exists()


def test_deploying_without_credentials_says_so(project: Path) -> None:
    done = run_cdk("deploy", cwd=project, endpoint=NOWHERE, env=NO_CREDENTIALS | MODEL)
    assert done.returncode == 1
    assert "no AWS credentials found: enough to synthesize; to deploy, set AWS_PROFILE or log in" in done.stdout
    assert "Unable to resolve AWS account" in done.stdout


def test_a_wrong_setting_ends_the_command_before_anything_is_asked_of_aws(project: Path) -> None:
    done = cdk("deploy", project, NOWHERE, region="eu-west-9")
    assert done.returncode == 1
    assert "error: region=eu-west-9 is unknown" in done.stdout
    assert "Traceback" not in done.stdout


def test_make_says_where_node_is_to_be_had(tmp_path: Path) -> None:
    for name in ("make", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [tmp_path / "make", "deploy"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Node.js was not found: cdk needs it (Node 22 or 24; 20 works): https://nodejs.org" in done.stderr

"""The real `cdk` against a server on this machine, with nothing of this machine's own AWS settings."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.aws import REGION

ROOT = Path(__file__).resolve().parents[2]
CDK = ROOT / "node_modules/.bin/cdk"
# What each command needs to run unattended.
OPTIONS = {
    "deploy": ("--method=direct", "--require-approval", "never"),
    "destroy": ("--force",),
}
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")


def need_cdk() -> None:
    """Skip the test, and say so, where cdk is not installed."""
    for what, found in (("node", shutil.which("node")), ("node_modules (npm ci)", CDK.exists())):
        if not found:
            pytest.skip(f"SKIPPED, NOT PROVEN: needs {what}")


def cdk_environment(endpoint: str, region: str = REGION) -> dict[str, str]:
    """Return an environment in which cdk talks to this endpoint only."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": "true",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "CI": "true",
        # By major version; 20 still works.
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        "NO_COLOR": "1",
        # The app may import what is in the repository, from wherever it runs.
        "PYTHONPATH": str(ROOT),
    }


def run_cdk(
    *arguments: str,
    cwd: Path,
    endpoint: str,
    env: Mapping[str, str | None] | None = None,
    timeout: float = 180,
) -> subprocess.CompletedProcess[str]:
    """Run cdk and return how it ended, output and errors together in `stdout`.

    Parameters
    ----------
    *arguments : str
        The command first, then its arguments.
    cwd : path
        Where cdk.json or the app is.
    endpoint : str
        Address of the server.
    env : mapping, optional
        Variables to add, or with None to take away.
    timeout : float
        Seconds after which the test fails, with what cdk had said until then.
    """
    need_cdk()
    command, *more = arguments
    environment = cdk_environment(endpoint) | dict(env or {})
    line = [str(CDK), command, "--no-notices", *OPTIONS.get(command, ()), *more]
    process = subprocess.Popen(
        line,
        cwd=cwd,
        env={name: value for name, value in environment.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The app and its jsii are cdk's children: they are to end with it.
        start_new_session=True,
    )
    with process:
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            pytest.fail(f"{' '.join(line)} did not end within {timeout:g} s; it said:\n{said}")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(line, process.returncode, said)


def app_command(script: Path | str = "app.py") -> str:
    """Return the `app` of a cdk.json, or of `--app`, that runs a script with this interpreter."""
    return f"{sys.executable} {script}"

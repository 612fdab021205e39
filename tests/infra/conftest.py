"""What the tests of the stack share: a folder that looks built, templates made in this process, a project to deploy."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.aws.cdk import need_cdk, run_cdk

# Node 20 works, and says so at length.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111111111111"
CONTEXT: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]

Synthesize = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a little of everything that `python -m bootstrap.package` builds."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "model").mkdir()
    names = ("entry.py", "job.zip", "dependencies-x86_64.tgz", "dependencies-arm64.tgz", "model/model.json")
    for name in (*names, "install_dependencies.sh", "certificates.zip"):
        (folder / name).write_text(f"stands for {name}")
    return folder


@pytest.fixture(scope="session")
def synthesize(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Return a function of settings that gives the stack's template, as the app makes it."""
    if shutil.which("node") is None:
        pytest.skip("SKIPPED, NOT PROVEN: the CDK needs Node.js, which is not here")
    import aws_cdk as cdk  # noqa: PLC0415 - starts Node

    from infra.settings import StackSettings  # noqa: PLC0415
    from infra.stack import FruitsStack  # noqa: PLC0415

    known: dict[str, dict[str, Any]] = {}

    def template(**settings: Any) -> dict[str, Any]:
        name = json.dumps(settings, sort_keys=True)
        if name not in known:
            app = cdk.App(context=CONTEXT, outdir=str(tmp_path_factory.mktemp("cdk.out")))
            stack = FruitsStack(app, StackSettings(**settings), dist, ACCOUNT)
            known[name] = json.loads(json.dumps(app.synth().get_stack_by_name(stack.stack_name).template))
        return known[name]

    return template


def of_type(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the properties of a template's resources of one type."""
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == kind]


def only(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the properties of the one resource of a type."""
    [found] = of_type(template, kind)
    return found


# What a checkout has, of which the app needs to know.
PARTS = ("app.py", "bootstrap", "cdk.json", "infra", "job", "submit", "requirements-job.txt", ".venv")
# The included model: no other can be had on every machine.
MODEL = {"WEIGHTS": "embedded"}


@pytest.fixture(scope="session")
def project(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of its own with a `dist` of its own, so that the developer's is left alone."""
    need_cdk()
    folder = tmp_path_factory.mktemp("project")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    (folder / "dist").symlink_to(built)
    return folder


def cdk(command: str, project: Path, endpoint: str, *more: str, **settings: str) -> CompletedProcess[str]:
    context = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return run_cdk(command, *context, *more, cwd=project, endpoint=endpoint, env=MODEL)

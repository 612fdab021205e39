"""cdk-nag's AwsSolutions pack and cfn-lint, for every combination of the main settings."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, CONTEXT, Synthesize

# Setting by setting: without, and with.
CHOICES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"vpc": "vpc-12345678", "subnets": "subnet-12345678,subnet-22345678"}),
    ({}, {"images_bucket": "old-pictures", "images_prefix": "archive/2026"}),
    ({}, {"schedule": "03:30", "timezone": "Europe/Paris"}),
    ({}, {"kms": True}),
    ({}, {"architecture": "arm64"}),
]
COMBINATIONS = [
    {name: value for choice in chosen for name, value in choice.items()} for chosen in itertools.product(*CHOICES)
]
# Each once, on top: what the product leaves out.
OTHERS: list[dict[str, Any]] = [
    {"alert": "somebody@example.com", "budget": 0, "keep_data": False},
    {"images_bucket": "old-pictures", "images_key": f"arn:aws:kms:eu-west-3:{ACCOUNT}:key/12345678-abcd"},
    {"region": "us-east-1", "worker_vcpu": 8, "worker_memory_gb": 32, "max_vcpu": 400},
]


def describe(settings: dict[str, Any]) -> str:
    return ",".join(settings) or "plain"


@pytest.mark.usefixtures("synthesize")
@pytest.mark.parametrize("settings", [*COMBINATIONS, *OTHERS], ids=describe)
def test_cdk_nag_finds_nothing_without_a_reason(settings: dict[str, Any], dist: Path, tmp_path: Path) -> None:
    import aws_cdk as cdk  # noqa: PLC0415 - starts Node
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

    from infra.settings import Settings  # noqa: PLC0415
    from infra.stack import FruitsStack  # noqa: PLC0415

    app = cdk.App(context=CONTEXT, outdir=str(tmp_path))
    FruitsStack(app, Settings(**settings), dist, ACCOUNT)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    metadata = json.loads((tmp_path / "fruits.metadata.json").read_text())
    accepted = [
        (finding, reason)
        for entries in metadata.values()
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for finding, reason in entry["data"].items()
    ]
    assert len(accepted) >= 8
    for finding, reason in accepted:
        # A resource each, never a rule as a whole, with a sentence of its own.
        assert re.fullmatch(r"Annotation::AwsSolutions-IAM5\[Resource::.+\]", finding)
        assert len(reason.split()) >= 6


@pytest.mark.usefixtures("synthesize")
def test_cdk_nag_would_find_a_public_bucket(tmp_path: Path) -> None:
    import aws_cdk as cdk  # noqa: PLC0415
    from aws_cdk import aws_s3 as s3  # noqa: PLC0415
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

    app = cdk.App(context=CONTEXT, outdir=str(tmp_path))
    s3.Bucket(cdk.Stack(app, "careless"), "Bucket")
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()


def lint(template: dict[str, Any], region: str = "eu-west-3") -> list[str]:
    """Return what cfn-lint says of a template: errors and warnings."""
    from cfnlint.api import lint as cfn_lint  # noqa: PLC0415 - seconds

    matches = cfn_lint(json.dumps(template), regions=[region])
    return [f"{match.rule.id} {match.message} {list(match.path)}" for match in matches]


@pytest.mark.parametrize("settings", [*COMBINATIONS, *OTHERS], ids=describe)
def test_cfn_lint_says_nothing(settings: dict[str, Any], synthesize: Synthesize) -> None:
    assert lint(synthesize(**settings), settings.get("region", "eu-west-3")) == []


def test_cfn_lint_would_say_something(synthesize: Synthesize) -> None:
    template = json.loads(json.dumps(synthesize()))
    for one in template["Resources"].values():
        if one["Type"] == "AWS::EMRServerless::Application":
            one["Properties"]["MaximumCapacity"]["Cpu"] = "a lot"
    assert lint(template)

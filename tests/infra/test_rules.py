"""cdk-nag's AwsSolutions pack and cfn-lint, for every combination of the main settings."""

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, CONTEXT, Synthesize

# Setting by setting: without, and with.
CHOICES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"vpc": "vpc-12345678", "subnets": "subnet-12345678,subnet-22345678"}),
    ({}, {"images_bucket": "old-images", "images_prefix": "archive/2026"}),
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
    {"images_bucket": "old-images", "images_key": f"arn:aws:kms:eu-west-3:{ACCOUNT}:key/12345678-abcd"},
    {"region": "us-east-1", "worker_vcpu": 8, "worker_memory_gb": 32, "max_vcpu": 400},
    {"compute": "cluster"},
    {
        **{"compute": "cluster", "vpc": "vpc-12345678", "subnets": "subnet-12345678", "architecture": "arm64"},
        **{"schedule": "03:30", "images_bucket": "old-images", "images_prefix": "archive/2026"},
    },
    {"compute": "cluster", "region": "us-east-1", "keep_data": False, "budget": 0},
]

# Of a cluster: AWS's own policy for EMR, and a network that nothing leads into.
CLUSTERS_OWN = {
    "Annotation::AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2]",
    "Annotation::AwsSolutions-VPC7",
}


def describe(settings: dict[str, Any]) -> str:
    return ",".join(settings) or "plain"


@dataclass(frozen=True)
class Judged:
    """What the CDK made of settings and cdk-nag let pass."""

    settings: dict[str, Any]
    folder: Path

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name).read_text())
        return found


@pytest.fixture(scope="module", params=[*COMBINATIONS, *OTHERS], ids=describe)
def judged(
    request: pytest.FixtureRequest, dist: Path, synthesize: Synthesize, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    """Return a synthesis that cdk-nag was asked about; what it finds without a reason is an error here."""
    import aws_cdk as cdk  # noqa: PLC0415 - starts Node
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

    from infra.settings import StackSettings  # noqa: PLC0415
    from infra.stack import FruitsStack  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("judged")
    app = cdk.App(context=CONTEXT, outdir=str(folder))
    FruitsStack(app, StackSettings(**request.param), dist, ACCOUNT)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return Judged(request.param, folder)


def test_cdk_nag_finds_nothing_without_a_reason(judged: Judged) -> None:
    metadata = judged.read("fruits.metadata.json")
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
        assert re.fullmatch(r"Annotation::AwsSolutions-IAM5\[Resource::.+\]", finding) or finding in CLUSTERS_OWN
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


def test_cfn_lint_says_nothing(judged: Judged) -> None:
    assert lint(judged.read("fruits.template.json"), judged.settings.get("region", "eu-west-3")) == []


def test_cfn_lint_would_say_something(synthesize: Synthesize) -> None:
    template = json.loads(json.dumps(synthesize()))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::EMRServerless::Application":
            resource["Properties"]["MaximumCapacity"]["Cpu"] = "a lot"
    assert lint(template)

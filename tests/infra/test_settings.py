"""Settings: what is unknown or impossible ends in a sentence that says what is allowed."""

from dataclasses import fields
from typing import Any

import pytest

from infra.settings import SettingsError, StackSettings
from tests.infra.conftest import CONTEXT, ROOT


def test_nothing_given_is_a_stack_in_the_eu_that_costs_little_and_keeps_its_data() -> None:
    settings = StackSettings.from_context(CONTEXT)
    assert settings == StackSettings()
    assert settings.region.startswith("eu-")
    assert (settings.architecture, settings.release) == ("x86_64", "emr-spark-8.1.0")
    assert settings.keep_data
    # A new account may have 16 vCPUs at once.
    assert settings.max_vcpu <= 16


def test_text_of_the_command_line_and_values_of_cdk_json_read_alike() -> None:
    text = {"max_vcpu": "32", "keep_data": "no", "kms": "Yes", "name": "trial", "budget": "0"}
    values = {"max_vcpu": 32, "keep_data": False, "kms": True, "name": "trial", "budget": 0}
    assert StackSettings.from_context(text) == StackSettings.from_context(values)
    assert StackSettings.from_context(text) == StackSettings(
        max_vcpu=32, keep_data=False, kms=True, name="trial", budget=0
    )


def test_what_is_the_cdks_own_is_left_alone() -> None:
    own = {"@aws-cdk/core:x": True, "aws:cdk:bundling-stacks": ["**"], "availability-zones:account=1:region=x": ["a"]}
    assert StackSettings.from_context(own) == StackSettings()


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"regoin": "eu-west-1"}, "regoin is no setting of this stack; is region meant?"),
        ({"xyzzy": "1"}, "xyzzy is no setting of this stack; the settings are name, region"),
        ({"region": "eu-west-9"}, "region=eu-west-9 is unknown"),
        ({"region": ""}, "region is empty"),
        ({"name": "1st"}, "name=1st cannot be used; it is letters, digits and hyphens"),
        ({"name": "with_underscore"}, "name=with_underscore cannot be used"),
        ({"name": ""}, "name is empty"),
        ({"release": "emr-7.9.0"}, "the job needs Spark 4"),
        ({"architecture": "aarch64"}, "architecture=aarch64 is unknown; it is one of x86_64, arm64"),
        ({"max_vcpu": "many"}, "max_vcpu=many is no whole number"),
        ({"max_vcpu": "-4"}, "max_vcpu=-4 is no whole number"),
        ({"max_vcpu": "4"}, "max_vcpu=4 leaves no room for a driver and one executor of worker_vcpu=4: at least 8"),
        ({"worker_vcpu": "3"}, "worker_vcpu=3 is unknown; it is one of 1, 2, 4, 8, 16"),
        ({"worker_memory_gb": "31"}, "EMR Serverless has 8 to 30 GB in steps of 1"),
        ({"worker_vcpu": "8", "worker_memory_gb": "18"}, "EMR Serverless has 16 to 60 GB in steps of 4"),
        ({"worker_disk_gb": "19"}, "worker_disk_gb=19 is out of range; it is 20 to 200"),
        ({"idle_minutes": "0"}, "idle_minutes=0 is out of range; it is 1 to 10,080"),
        ({"alarm_minutes": "7"}, "alarm_minutes=7 is no multiple of 5"),
        ({"alarm_minutes": "1500"}, "alarm_minutes=1500 is out of range"),
        ({"kms": "perhaps"}, "kms=perhaps is neither yes nor no"),
        ({"log_days": "31"}, "log_days=31 is unknown; it is one of 1, 3, 5, 7, 14, 30"),
        ({"images_bucket": "s3://images"}, "the name of a bucket, without s3://"),
        ({"images_bucket": "images", "images_prefix": "*"}, "without * ? $ or spaces"),
        ({"images_bucket": "images", "images_prefix": "${aws:username}"}, "without * ? $ or spaces"),
        ({"images_bucket": "images", "images_prefix": "/a"}, "not beginning with /"),
        ({"images_key": "arn:aws:kms:eu-west-3:111111111111:key/12-ab"}, "images_key goes with images_bucket"),
        ({"images_bucket": "images", "images_key": "alias/mine"}, "the ARN of a KMS key"),
        ({"vpc": "vpc-12345678"}, "vpc and subnets go together"),
        ({"subnets": "subnet-12345678"}, "vpc and subnets go together"),
        ({"vpc": "mine", "subnets": "subnet-12345678"}, "vpc=mine cannot be used"),
        ({"schedule": "25:00"}, "schedule=25:00 cannot be used; it is a time such as 03:30"),
        ({"schedule": "03:30", "timezone": "Mars/Olympus"}, "timezone=Mars/Olympus is unknown"),
        ({"alert": "nobody"}, "alert=nobody cannot be used"),
        ({"compute": "fargate"}, "compute=fargate is unknown; it is one of serverless, cluster"),
        (
            {"compute": "cluster", "worker_vcpu": "2"},
            "worker_vcpu=2 is no size of a cluster's instances; it is one",
        ),
        (
            {"compute": "cluster", "worker_memory_gb": "13"},
            "YARN gives out on an instance of worker_vcpu=4: at most",
        ),
        ({"compute": "cluster", "instance_families": "m5d"}, "without disks of their own, such as m5,m6i"),
        ({"compute": "cluster", "instance_families": "m5,m6g"}, "instance_families=m6g is not for architecture=x86_64"),
        ({"instance_families": "m5"}, "instance_families goes with compute=cluster"),
        ({"budget": "-1"}, "budget=-1 is no whole number"),
    ],
)
def test_a_sentence_says_what_is_wrong_and_what_is_allowed(context: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        StackSettings.from_context(context)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_documentation_has_each_setting_under_its_own_name() -> None:
    page = (ROOT / "docs/aws/settings.md").read_text()
    missing = [option.name for option in fields(StackSettings) if f"| `{option.name}` |" not in page]
    assert not missing

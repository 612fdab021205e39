"""What the submitter's tests share: a moto server for CloudFormation and S3, a played EMR Serverless, a stack."""

import contextlib
import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import Loader

from submit import aws
from submit.__main__ import main
from submit.patience import Patience
from tests.submit.emr import APPLICATION, Emr, emr_server

REGION = "eu-west-3"
# The models of the services are read once for all tests.
LOADER = Loader(include_default_search_paths=True)
QUICK = Patience(poll=0.02, next_attempt=0.3, late_serverless=0.3, late_cluster=0.3, notice=0.01)


def make_stack(client: Any, name: str, outputs: dict[str, str]) -> None:
    """Have CloudFormation make a stack with these outputs."""
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    client.create_stack(StackName=name, TemplateBody=json.dumps(template))


@dataclass(frozen=True)
class Cloud:
    """A deployed stack: its name, its service, and the buckets of its results and logs."""

    name: str
    emr: Emr
    s3: Any
    cloudformation: Any
    bucket: str
    outputs: dict[str, str]

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def log(self, run_id: str, text: str | bytes, name: str = "SPARK_DRIVER/stderr.gz") -> None:
        """Put a file of a run's log, as EMR Serverless does."""
        content = text.encode() if isinstance(text, str) else text
        self.put(f"emr/applications/{APPLICATION}/jobs/{run_id}/{name}", gzip.compress(content))


@pytest.fixture
def environment(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the AWS libraries to the server, and away from the configuration of this machine."""
    variables = {
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    }
    for unset in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3", "AWS_MAX_ATTEMPTS"):
        monkeypatch.delenv(unset, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


# The outputs of a stack that differ from target to target.
TARGET_OUTPUTS = {
    "serverless": {"ApplicationId": APPLICATION},
    "cluster": {
        "Release": "emr-spark-8.1.0",
        "InstanceTypes": "m5.xlarge,m6i.xlarge",
        "Subnets": "subnet-1,subnet-2",
        "ServiceRole": "fruits-service",
        "InstanceProfile": "fruits-nodes",
        "SecurityConfiguration": "fruits-security",
        "NodeGroup": "sg-nodes",
        "ServiceGroup": "sg-service",
        "Installer": "s3://code/5.sh",
        "DependenciesSha256": "ab" * 32,
        "IdleMinutes": "5",
    },
}


@contextlib.contextmanager
def deployed(target: str, emr: Emr) -> Iterator[Cloud]:
    """Make a stack, and one bucket for images, results and logs, which differ in their prefix."""
    name = f"fruits-{uuid.uuid4().hex[:8]}"
    s3, cloudformation = boto3.client("s3"), boto3.client("cloudformation")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    outputs = {
        "Version": "2",
        "Target": target,
        **TARGET_OUTPUTS[target],
        "JobRole": "arn:aws:iam::111111111111:role/fruits-job",
        "EntryPoint": "s3://code/1.py",
        "JobZip": "s3://code/2.zip",
        "Dependencies": "s3://code/3.tgz",
        "Model": "s3://code/4.zip",
        "Images": f"s3://{name}/images",
        "Results": f"s3://{name}/results",
        "Region": REGION,
        "TimeoutMinutes": "720",
        "Vcpu": "4",
        "MemoryGb": "8",
        "DiskGb": "20",
        "MaxVcpu": "16",
        "Logs": f"s3://{name}/emr",
    }
    make_stack(cloudformation, name, outputs)
    yield Cloud(name, emr, s3, cloudformation, name, outputs)
    cloudformation.delete_stack(StackName=name)


@pytest.fixture
def cloud(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Return a stack whose runs take place on a played EMR Serverless."""
    with emr_server() as emr:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EMR_SERVERLESS", emr.url)
        with deployed("serverless", emr) as made:
            yield made


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Submit = Callable[..., Done]


def submitting(name: str, capsys: pytest.CaptureFixture[str]) -> Submit:
    """Return a function that runs `python -m submit` with these arguments in this process, on a stack.

    Its options are `attempts`, how often each call to AWS is tried; `patience`; and `prepare`, which is called with the
    clients before they are used.
    """

    def run(
        *arguments: str,
        name: str | None = name,
        attempts: int = aws.ATTEMPTS_A_CALL,
        patience: Patience = QUICK,
        prepare: Callable[[aws.Clients], None] = lambda _: None,
    ) -> Done:
        def connect(region: str | None) -> aws.Clients:
            session = botocore.session.get_session()
            session.register_component("data_loader", LOADER)
            clients = aws.connect(region, attempts=attempts, session=session)
            prepare(clients)
            return clients

        capsys.readouterr()
        words = [*arguments, *(["--name", name] if name else [])]
        try:
            status = main(words, connect=connect, patience=patience)
        except SystemExit as exit_:  # argparse
            status = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return run


@pytest.fixture
def submit(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> Submit:
    """Return the submitter, on the test's stack."""
    return submitting(cloud.name, capsys)


RUN_JSON = {
    "counts": {"listed": 7, "ok": 6, "rejected": 1, "reused": 2, "new": 5},
    "components": 3,
    "explained_variance_ratio": [0.5, 0.25, 0.125],
    "results": {"pca_model": "pca_model/run=b", "pca_results": "pca_results/run=b"},
}


@pytest.fixture
def results(cloud: Cloud) -> dict[str, bytes]:
    """Put what a run leaves into the bucket, and return it by name: two runs' folders, of which one is current."""
    files = {
        "run.json": json.dumps(RUN_JSON).encode(),
        "pca_matrix.csv": b"path;label;pca_1\n",
        "pca_results/run=a/part-0.parquet": b"old",
        "pca_results/run=b/part-0.parquet": b"current",
        "pca_model/run=b/part-0.parquet": b"basis",
        "features/model=f/wave=1/part-0.parquet": b"many",
        "work/run=c/listing.parquet": b"under way",
    }
    for name, content in files.items():
        cloud.put(f"results/{name}", content)
    return files

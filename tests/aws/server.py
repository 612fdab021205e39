"""AWS on this machine for the real `cdk`: moto's server in this process, with the gaps of its CloudFormation filled.

    with play() as aws:
        run_cdk("bootstrap", ..., endpoint=aws.endpoint)
        aws.client("s3").list_buckets()

moto's state is the process's: whatever other moto server runs in it shows the same, and is emptied too, at both ends.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto import settings
from moto.cloudformation import parsing
from moto.cloudformation.models import cloudformation_backends
from moto.core.authorization import ActionAuthenticatorMixin
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from tests.aws import ACCOUNT, REGION
from tests.aws.patches import patched
from tests.aws.resources import Properties, Resource

__all__ = ["ACCOUNT", "REGION", "Deployed", "Server", "play"]

CREDENTIALS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
STANDING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True)
class Deployed:
    """A resource of a stack that stands."""

    stack: str
    logical_id: str
    physical_id: str
    properties: Properties


@dataclass
class Server:
    """The server that `play` gives."""

    endpoint: str
    # Types that a template asked for and that this server cannot make (or change); the deployment failed on them.
    skipped: list[str] = field(default_factory=list)
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def account(self) -> str:
        return ACCOUNT

    def client(self, service: str, region: str = REGION) -> Any:
        """Return a boto3 client that talks to this server, whatever the environment says."""
        with self._lock:  # boto3 makes clients one at a time
            if (service, region) not in self._clients:
                self._clients[service, region] = boto3.session.Session(**CREDENTIALS, region_name=region).client(
                    service,
                    endpoint_url=self.endpoint,
                    config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
                )
            return self._clients[service, region]

    def resources(self, type_: str, region: str = REGION, stack: str = "") -> list[Deployed]:
        """Return the resources of a type, as CloudFormation knows them, of one stack or of all that stand."""
        found = []
        for known in cloudformation_backends[ACCOUNT][region].stacks.values():
            if known.status in STANDING and stack in {"", known.name}:
                # Through the map itself, looking would make what is not there.
                for logical_id, resource in known.resource_map._parsed_resources.items():
                    if getattr(resource, "cf_resource_type", "") == type_:
                        properties = _properties(resource, logical_id, known.resource_map)
                        found.append(Deployed(known.name, logical_id, resource.physical_resource_id, properties))
        return found

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def _properties(resource: Any, logical_id: str, resource_map: Any) -> Properties:
    if isinstance(resource, Resource):
        return resource.properties
    definition = resource_map._resource_json_map[logical_id]
    return dict(parsing.clean_json(definition.get("Properties", {}), resource_map))


@contextlib.contextmanager
def play() -> Iterator[Server]:
    """Run the server on a port of its own; at the end moto is as it was before, and empty."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    # By this name: cdk's S3 client turns the address into `bucket.127.0.0.1`.
    aws = Server(f"http://localhost:{server.get_host_and_port()[1]}")
    moto_api_backend.reset()
    try:
        with (
            patched(aws.client, aws.skipped),
            # A test may have IAM enforced, which counts requests.
            patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf")),
            patch.object(ActionAuthenticatorMixin, "request_count", 0),
        ):
            yield aws
    finally:
        aws.close()
        server.stop()
        moto_api_backend.reset()

"""A synthesized template and requests go in; whether IAM would grant each one, and by which statement, comes out.

The rules are those of `@cloud-copilot/iam-simulate`, run by one `node` process for all requests of a call. A request
that could not be made (an action that does not exist, a resource it does not apply to, a context key it does not have)
is an error and never counts as refused.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import botocore.session
import pytest

from tests.infra.intrinsics import Resolver, UnresolvedError

Document = dict[str, Any]
Context = Mapping[str, str | Sequence[str]]
Outcome = Literal["Allowed", "ExplicitlyDenied", "ImplicitlyDenied", "Invalid"]

SCRIPT = Path(__file__).with_name("simulate.mjs")
NODE_MODULES = Path(__file__).resolve().parents[2] / "node_modules"
SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
RESOURCE = re.compile(r"\*|arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")
# Where IAM and botocore name a service differently.
BOTOCORE_NAMES = {"elasticmapreduce": "emr", "states": "stepfunctions"}
# Policies that name in a property which roles, and which resources, they are attached to.
ROLE_POLICIES = (("AWS::IAM::Policy", "Roles"), ("AWS::IAM::RolePolicy", "RoleName"))
RESOURCE_POLICIES = (
    ("AWS::S3::BucketPolicy", "Bucket", "arn:{partition}:s3:::{target}"),
    ("AWS::SNS::TopicPolicy", "Topics", "{target}"),
)


class InvalidRequestError(Exception):
    """A request that AWS would not know, or that cannot be judged by what the template says."""


@dataclass(frozen=True)
class Identity:
    """A role, or one of its sessions, with all that is attached to it.

    Attributes
    ----------
    arn : str
        Of the role, also where a session asks.
    policies, boundaries : tuple of (name, document)
        What grants, and what limits it.
    unknown : tuple of str
        ARNs of attached policies that the template does not contain; with one the role cannot be judged.
    session_name : str
        Empty for the role itself.
    """

    arn: str
    policies: tuple[tuple[str, Document], ...] = ()
    boundaries: tuple[tuple[str, Document], ...] = ()
    unknown: tuple[str, ...] = ()
    session_name: str = ""

    @property
    def principal(self) -> str:
        """The ARN of who asks."""
        if not self.session_name:
            return self.arn
        _, partition, _, _, account, path = self.arn.split(":", 5)
        return f"arn:{partition}:sts::{account}:assumed-role/{path.rsplit('/', 1)[-1]}/{self.session_name}"

    def session(self, name: str = "session") -> "Identity":
        """Return a session of this role."""
        return replace(self, session_name=name)


@dataclass(frozen=True)
class Request:
    """Who wants to do what to which resource; keys of the context that every request has are added where not given.

    Attributes
    ----------
    principal : Identity or str
        What `Stack` returns, the ARN of a role of the stack or of its session, or a service: `sns.amazonaws.com`.
    action, resource : str
        Such as `s3:GetObject`, and the ARN of one resource (no wildcard); `*` where the action applies to none.
    context : mapping
        Condition keys with a text, or several where the key may have several.
    """

    principal: Identity | str
    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What came of a request; true if it is allowed. An invalid one has no truth value."""

    request: Request
    outcome: Outcome
    reason: str

    @property
    def allowed(self) -> bool:
        """Whether IAM would grant the request."""
        if self.outcome == "Invalid":
            raise InvalidRequestError(str(self))
        return self.outcome == "Allowed"

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        asked, who = self.request, self.request.principal
        who = who.principal if isinstance(who, Identity) else who
        return f"{who} {asked.action} {asked.resource} {dict(asked.context)}: {self.outcome}, {self.reason}"


class Stack(Resolver):
    """The policies of one template, with made-up but real-looking names for its resources."""

    def __init__(
        self,
        template: Mapping[str, Any],
        account: str = "111111111111",
        region: str = "eu-west-3",
        *,
        name: str = "stack",
        refs: Mapping[str, str] | None = None,
        policies: Mapping[str, Document] | None = None,
        node_modules: Path = NODE_MODULES,
    ) -> None:
        """Take a template.

        Parameters
        ----------
        template, account, region, name, refs
            As for `Resolver`.
        policies : mapping of str to dict, optional
            Resource policies of buckets, topics and keys that were there before, by ARN.
        node_modules : Path
            Folder of Node's packages, with the simulator.
        """
        super().__init__(template, account=account, region=region, name=name, refs=refs)
        self.account = account
        self._given = dict(policies or {})
        self._node_modules = node_modules

    def roles(self) -> dict[str, Identity]:
        """Return all roles by logical ID."""
        return {logical_id: self.role(logical_id) for logical_id in self.ids("AWS::IAM::Role")}

    def role(self, logical_id: str) -> Identity:
        """Return a role with its inline policies and those attached to it, by whichever side says so."""
        properties, name, arn = self.properties(logical_id), self.ref(logical_id), self.att(logical_id, "Arn")
        inline = [
            (f"{logical_id}/{self.resolve(policy['PolicyName'])}", self._document(policy["PolicyDocument"]))
            for policy in properties.get("Policies", [])
        ]
        separate = [
            (policy, self._document(self.properties(policy)["PolicyDocument"]))
            for kind, roles in ROLE_POLICIES
            for policy in self.ids(kind)
            if name in self._targets(policy, roles)
        ]
        attached = set(self.resolve(properties.get("ManagedPolicyArns", [])))
        managed = [
            (policy, document)
            for policy_arn, (policy, document) in self._managed.items()
            if policy_arn in attached or name in self._targets(policy, "Roles")
        ]
        limits = [self.resolve(properties["PermissionsBoundary"])] if "PermissionsBoundary" in properties else []
        return Identity(
            arn=arn,
            policies=(*inline, *separate, *managed),
            boundaries=tuple(self._managed[limit] for limit in limits if limit in self._managed),
            unknown=tuple(sorted(policy for policy in (*attached, *limits) if policy not in self._managed)),
        )

    def managed_policy(self, *logical_ids: str) -> Identity:
        """Return somebody in the account who has these managed policies and nothing else."""
        arn = f"arn:{self.ref('AWS::Partition')}:iam::{self.account}:role/somebody"
        return Identity(arn, tuple(self._managed[self.ref(logical_id)] for logical_id in logical_ids))

    def allowed(self, requests: Sequence[Request]) -> list[bool]:
        """Return whether IAM would grant each request; see `judge`."""
        return [verdict.allowed for verdict in self.judge(requests)]

    def judge(self, requests: Sequence[Request], *, keep_invalid: bool = False) -> list[Verdict]:
        """Return a verdict a request, in their order.

        Raises
        ------
        InvalidRequestError
            For requests that could not be made, all of them in one message, unless `keep_invalid` keeps them among the
            verdicts; and for those that the template alone cannot decide.
        """
        answer = _node([self._simulation(request) for request in requests], [], self._node_modules)["verdicts"]
        verdicts = [Verdict(request, **each) for request, each in zip(requests, answer, strict=True)]
        wrong = [str(verdict) for verdict in verdicts if verdict.outcome == "Invalid"]
        if wrong and not keep_invalid:
            raise InvalidRequestError("\n".join(wrong))
        return verdicts

    def assume(self, role: str, principal: Identity | str, context: Context | None = None) -> Verdict:
        """Return whether a service, or another role, may take on the role with this logical ID."""
        return self.judge([Request(principal, "sts:AssumeRole", self.att(role, "Arn"), context or {})])[0]

    @cached_property
    def _managed(self) -> dict[str, tuple[str, Document]]:
        """Logical ID and document of the template's managed policies, by ARN."""
        return {
            self.ref(policy): (policy, self._document(self.properties(policy)["PolicyDocument"]))
            for policy in self.ids("AWS::IAM::ManagedPolicy")
        }

    def _targets(self, policy: str, property_name: str) -> list[str]:
        """Return what a policy is attached to, by what it itself says."""
        return _listed(self.resolve(self.properties(policy).get(property_name, [])))

    @cached_property
    def _resource_policies(self) -> dict[str, Document]:
        """Policies of buckets, topics and keys by ARN."""
        found = [*self._given.items()]
        for kind, property_name, arn in RESOURCE_POLICIES:
            for policy in self.ids(kind):
                document = self._document(self.properties(policy)["PolicyDocument"])
                for target in self._targets(policy, property_name):
                    found.append((arn.format(partition=self.ref("AWS::Partition"), target=target), document))
        for key in self.ids("AWS::KMS::Key"):
            if "KeyPolicy" in self.properties(key):
                found.append((self.att(key, "Arn"), self._document(self.properties(key)["KeyPolicy"])))
        policies = dict(found)
        if len(policies) < len(found):
            raise InvalidRequestError("a bucket, topic or key has two resource policies, and AWS keeps one of them")
        return policies

    @cached_property
    def _trust(self) -> dict[str, Document]:
        return {
            self.att(role, "Arn"): self._document(self.properties(role)["AssumeRolePolicyDocument"])
            for role in self.ids("AWS::IAM::Role")
        }

    def _document(self, unresolved: Document) -> Document:
        document: Document = self.resolve(unresolved)
        for statement in _statements(document):
            for resource in _listed(statement.get("Resource", statement.get("NotResource", []))):
                # The simulator would take `name` for `name:*:*:*:*:*`, and CloudFormation refuses it.
                if not RESOURCE.fullmatch(resource):
                    raise UnresolvedError(f"{resource} is neither * nor an ARN, in {statement}")
        return document

    def _policy_of(self, action: str, resource: str) -> Document | None:
        """Return the policy of the resource that a request names, None if it has none."""
        service = action.split(":", 1)[0]
        if action == "sts:AssumeRole":
            if resource not in self._trust:
                raise InvalidRequestError(f"{resource} is no role of this template, so whom it trusts is not known")
            return self._trust[resource]
        owner = resource.split("/", 1)[0] if service == "s3" else resource
        policy = self._resource_policies.get(owner)
        if policy is None and service == "kms" and ":key/" in resource:
            raise InvalidRequestError(f"the policy of {resource} is not in this template: give it in policies")
        return policy

    def _identity(self, principal: Identity | str) -> Identity | None:
        """Return who asks, None for a service."""
        if isinstance(principal, Identity):
            return principal
        if SERVICE.fullmatch(principal):
            return None
        for role in self.roles().values():
            for identity in (role, role.session(principal.rsplit("/", 1)[-1])):
                if identity.principal == principal:
                    return identity
        raise InvalidRequestError(f"{principal} is neither a service nor a role of this template")

    def _simulation(self, request: Request) -> dict[str, Any]:
        identity = self._identity(request.principal)
        if identity and identity.unknown:
            raise InvalidRequestError(
                f"{identity.arn} has {', '.join(identity.unknown)}, which are not in this template"
            )
        for key, value in request.context.items():
            # The simulator would not compare a number or a truth value with anything.
            if not all(isinstance(each, str) for each in _listed(value)):
                raise TypeError(f"context key {key} is {value!r}, and not text")
        given = {key.lower() for key in request.context}
        owner = (request.resource.split(":") + [""] * 5)[4] or self.account
        defaults = {
            key: value for key, value in _defaults(identity, request, owner).items() if key.lower() not in given
        }
        return {
            "defaults": list(defaults),
            "request": {
                "principal": identity.principal if identity else request.principal,
                "action": request.action,
                "resource": {"resource": request.resource, "accountId": owner},
                "contextVariables": defaults | dict(request.context),
            },
            "identityPolicies": _named(identity.policies if identity else ()),
            **({"permissionBoundaryPolicies": _named(identity.boundaries)} if identity and identity.boundaries else {}),
            "resourcePolicy": self._policy_of(request.action, request.resource),
            "serviceControlPolicies": [],
            "resourceControlPolicies": [],
        }


def actions(template: Mapping[str, Any]) -> set[str]:
    """Return every action that a policy of the template names, be it of an identity, of a resource, or of trust."""
    return {
        action
        for document in _documents(template)
        for statement in _statements(document)
        for element in ("Action", "NotAction")
        for action in _listed(statement.get(element, []))
    }


def known_actions(names: Iterable[str]) -> dict[str, bool]:
    """Return for each whether the simulator's list has it, or, where it has `*` or `?`, has one that it matches."""
    known: dict[str, bool] = _node([], sorted(names))["known"]
    return known


def known_action(name: str) -> bool:
    """Return whether one action exists; see `known_actions`, which asks for many at once."""
    return known_actions([name])[name]


def is_operation(action: str) -> bool:
    """Return whether an action is an operation of its service's API, going by botocore.

    Not all are: `iam:PassRole` is none, `s3:ListBucket` is another one's permission. For services without such cases
    (emr-serverless, sns, logs, cloudformation, kms but for its ReEncryptFrom and ReEncryptTo) it is a second list.
    """
    service, _, name = action.partition(":")
    return name in _operations(BOTOCORE_NAMES.get(service, service))


@cache
def _operations(service: str) -> frozenset[str]:
    return frozenset(botocore.session.get_session().get_service_model(service).operation_names)


def _node(simulations: list[dict[str, Any]], names: list[str], node_modules: Path = NODE_MODULES) -> dict[str, Any]:
    """Ask the simulator, or skip the test where it is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("SKIPPED, NOT PROVEN: needs Node.js to judge IAM policies")
    if not (node_modules / "@cloud-copilot" / "iam-simulate").is_dir():
        pytest.skip("SKIPPED, NOT PROVEN: needs the simulator of IAM policies: npm ci")
    question = json.dumps({"simulations": simulations, "actions": names})
    done = subprocess.run([node, str(SCRIPT)], input=question, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"the simulator of IAM policies failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _defaults(identity: Identity | None, request: Request, owner: str) -> dict[str, str]:
    """Return what AWS itself puts into the context of every request."""
    context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3", "aws:ResourceAccount": owner}
    if identity is None:
        return context | {"aws:PrincipalIsAWSService": "true", "aws:PrincipalServiceName": str(request.principal)}
    account = identity.arn.split(":")[4]
    return context | {
        "aws:PrincipalIsAWSService": "false",
        # Of the role, for a session as well.
        "aws:PrincipalArn": identity.arn,
        "aws:PrincipalAccount": account,
        "kms:CallerAccount": account,
    }


def _documents(value: Any) -> Iterator[Document]:
    """Yield every policy document, at whatever depth."""
    if isinstance(value, Mapping):
        if any(isinstance(each, Mapping) and "Effect" in each for each in _listed(value.get("Statement", []))):
            yield dict(value)
        for each in value.values():
            yield from _documents(each)
    elif isinstance(value, list):
        for each in value:
            yield from _documents(each)


def _statements(document: Document) -> list[Document]:
    return _listed(document["Statement"])


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _named(policies: Iterable[tuple[str, Document]]) -> list[dict[str, Any]]:
    return [{"name": name, "policy": policy} for name, policy in policies]

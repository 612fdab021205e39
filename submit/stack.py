"""A deployed stack: its name in; its target, the job and the size of workers out, as its outputs state them."""

from collections.abc import Mapping
from dataclasses import dataclass

from job.errors import JobError
from submit.aws import Clients, code_of, explained
from submit.request.targets import DEFAULT_REGION, VERSION, JobSpec, Target, Workers, read_outputs


@dataclass(frozen=True)
class Stack:
    """A stack, as its outputs describe it."""

    name: str
    target: Target
    job: JobSpec
    workers: Workers


def find(clients: Clients, name: str) -> Stack:
    """Return the stack of a name.

    Raises
    ------
    JobError
        Where there is none, where it is not a stack of this project or of another version, and for errors of AWS.
    """
    try:
        with explained(f"the stack {name} in {clients.region}"):
            [found] = clients.cloudformation.describe_stacks(StackName=name)["Stacks"]
    except JobError as error:
        if code_of(error) != "ValidationError" or "does not exist" not in str(error):
            raise
        other = f" (the default is {DEFAULT_REGION})" if clients.region != DEFAULT_REGION else ""
        raise JobError(
            f"there is no stack {name} in {clients.region}: deploy it (make deploy), or say where it is with"
            f" --name, --region{other}, and AWS_PROFILE for the account"
        ) from error
    given = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    return _read(name, given, found["StackStatus"])


def _read(name: str, given: Mapping[str, str], status: str) -> Stack:
    version = given.get("Version")
    if version is None:
        raise JobError(
            f"the stack {name} ({status}) has no output Version: it is not fully deployed (make deploy), or is no stack"
            " of this project (--name)"
        )
    if version != VERSION:
        raise JobError(
            f"the stack {name} has version {version} and this submitter version {VERSION}: deploy the stack from this"
            " checkout (make deploy), or submit from the checkout that deployed it"
        )
    try:
        return Stack(name, *read_outputs(given))
    except (KeyError, ValueError) as error:
        raise JobError(
            f"the stack {name} has version {VERSION}, but not the output {error}: deploy it again (make deploy)"
        ) from None

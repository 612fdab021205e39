"""The stack: its name in, from its outputs where runs take place, of what size, and where their logs are."""

from collections.abc import Mapping
from dataclasses import dataclass

from job.errors import JobError
from submit.aws import Clients, code_of, explained
from submit.request.targets import DEFAULT_REGION, VERSION, JobSpec, Target, Workers, read_outputs


@dataclass(frozen=True)
class Stack:
    """What the outputs of a stack say."""

    name: str
    target: Target
    job: JobSpec
    workers: Workers


def find(clients: Clients, name: str) -> Stack:
    """Return the stack of a name.

    Raises
    ------
    JobError
        Where there is none, where it is another's or of another version, and whatever keeps AWS from telling.
    """
    try:
        with explained(f"the stack {name} in {clients.region}"):
            [found] = clients.cloudformation.describe_stacks(StackName=name)["Stacks"]
    except JobError as error:
        if code_of(error) != "ValidationError" or "does not exist" not in str(error):
            raise
        other = f", {DEFAULT_REGION} being where it goes by default" if clients.region != DEFAULT_REGION else ""
        raise JobError(
            f"there is no stack {name} in {clients.region}: deploy it (make deploy), or say where it is:"
            f" --name, --region{other}, AWS_PROFILE for the account"
        ) from error
    told = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    return _read(name, told, found["StackStatus"])


def _read(name: str, told: Mapping[str, str], status: str) -> Stack:
    version = told.get("Version")
    if version is None:
        raise JobError(
            f"the stack {name} ({status}) does not say where runs take place: it is not deployed in full"
            " (make deploy), or is no stack of this project (--name)"
        )
    if version != VERSION:
        raise JobError(
            f"the stack {name} is of version {version} and this submitter of version {VERSION}: deploy the stack from"
            " this checkout (make deploy), or submit from the one that it was deployed from"
        )
    try:
        return Stack(name, *read_outputs(told))
    except (KeyError, ValueError) as error:
        raise JobError(
            f"the stack {name} says version {VERSION}, but not its own output {error}: make deploy"
        ) from None

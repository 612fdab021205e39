"""What the rehearsal shows, one function each: a stage in, a sentence of what was proven or `NotProvenError` out."""

import contextlib
import io
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.aws.cdk import ROOT
from tests.rehearsal.container import processes_of
from tests.rehearsal.grants import Grant, withheld
from tests.rehearsal.results import Results, differences, read
from tests.rehearsal.stage import Stage
from tests.rehearsal.terminal import Transcript, submit

CANCELLED = 3  # exit status of the submitter


class NotProvenError(Exception):
    """What was to be shown has not come true."""


def check(truth: object, what: str) -> None:
    """Raise `NotProvenError` unless it is true."""
    if not truth:
        raise NotProvenError(what)


@dataclass
class Rehearsal:
    """A stage, images on this disk, and how far it has come.

    Attributes
    ----------
    stage : Stage
        The deployed stack.
    images : Path
        Folder of all images.
    first, later : list of str
        Those that are there from the beginning, and those that come after.
    components : int
        How many the job is to keep.
    """

    stage: Stage
    images: Path
    first: list[str]
    later: list[str]
    components: int
    _uploaded: list[str] = field(default_factory=list)

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of each run."""
        return ("--components", str(self.components))

    def upload(self, names: list[str]) -> None:
        """Put images into the bucket."""
        self.stage.upload(self.images, names)
        self._uploaded += names

    def submit(self, *more: str, **how: Any) -> Transcript:
        """Run the submitter."""
        return submit(self.stage.aws.endpoint, *more, *self.options, **how)

    def on_s3(self) -> Results:
        """Return the results in the bucket."""
        with tempfile.TemporaryDirectory() as folder:
            return read(self.stage.download(Path(folder)), self.stage.outputs["Images"])

    def on_disk(self) -> Results:
        """Return the results of a run on this machine alone, of the images that the bucket has."""
        with tempfile.TemporaryDirectory() as folder:
            images, output = Path(folder, "images"), Path(folder, "output")
            for name in self._uploaded:
                (images / name).parent.mkdir(parents=True, exist_ok=True)
                (images / name).symlink_to(self.images / name)
            model = self.stage.project / "dist/model"
            line = [sys.executable, "-m", "job", "run", "--images", str(images), "--model", str(model)]
            line += ["--output", str(output), *self.options]
            done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
            check(done.returncode == 0, f"the run on this machine failed: {done.stderr}")
            return read(output, str(images))


def first_run(rehearsal: Rehearsal) -> str:
    """Submit the first run; all images are new."""
    outcome = rehearsal.submit()
    check(outcome.status == 0, f"the submitter ended with {outcome.status}:\n{outcome.text}")
    words = f"0 of them known, {len(rehearsal.first)} new"
    check(words in outcome.text, f"the submitter did not show the job's own lines ({words}):\n{outcome.text}")
    _counted(rehearsal, new=len(rehearsal.first), reused=0)
    guard = rehearsal.stage.executor.guard
    check(guard.allowed > 0, "no request was checked for its rights")
    # On AWS it needs ListBucket, here there is no right to it: the job does without.
    others = [request for request in guard.refused if not request.startswith("s3:HeadBucket ")]
    check(not others, f"the role was refused {others}")
    return f"{len(rehearsal.first)} images inferred, from the archives alone, with the role's rights alone"


def second_run(rehearsal: Rehearsal) -> str:
    """Run again on the unchanged bucket."""
    _succeeded(rehearsal)
    _counted(rehearsal, new=0, reused=len(rehearsal.first))
    return "nothing is inferred twice"


def cancelled_run(rehearsal: Rehearsal) -> str:
    """Press Ctrl-C in the middle of a run with new images."""
    rehearsal.upload(rehearsal.later)
    known = set(rehearsal.stage.executor.runs)
    runs = rehearsal.stage.executor.runs
    words = f", {len(rehearsal.later)} new"

    def inferring(_: str) -> bool:
        # Seen where it is said, as the submitter's look at the log may come when all is done.
        return any(words in runs[run_id].said() for run_id in set(runs) - known)

    outcome = rehearsal.submit(until=inferring)
    check(outcome.status == CANCELLED, f"the submitter ended with {outcome.status}:\n{outcome.text}")
    [run_id] = set(runs) - known
    run = runs[run_id]
    run.join()
    check(run.record.state == "CANCELLED", f"the run is {run.record.state}")
    check(run.sessions, "nothing was started")
    left = [pid for session in run.sessions for pid in processes_of(session)]
    check(not left, f"processes are left: {left}")
    return "Ctrl-C ends the run at the service, with all its processes"


def next_run(rehearsal: Rehearsal) -> str:
    """Run again after the cancelled one: it infers the new images, and no others."""
    _succeeded(rehearsal)
    _counted(rehearsal, new=len(rehearsal.later), reused=len(rehearsal.first))
    return f"the next run infers the {len(rehearsal.later)} new images"


def same_as_local(rehearsal: Rehearsal) -> str:
    """Compare the results in the bucket with those of a run on this machine."""
    ours, its = rehearsal.on_s3(), rehearsal.on_disk()
    found = differences(ours, its)
    check(not found, f"{len(found)} differences from a local run, the first: {'; '.join(found[:3])}")
    return f"features of {len(ours.features)} images bit for bit, PCA to a millionth, as on this machine alone"


def refused_without(rehearsal: Rehearsal, grant: Grant) -> str:
    """Take one right away: the run fails, and says which."""
    stage = rehearsal.stage
    # So that there is something to read.
    bucket, key = stage.locate("Images", "withheld", f"{uuid.uuid4().hex}.jpg")
    stage.s3.put_object(Bucket=bucket, Key=key, Body=(rehearsal.images / rehearsal.first[0]).read_bytes())
    try:
        with withheld(stage, grant):
            outcome = stage.run(*rehearsal.options, attempts=1)
    finally:
        stage.s3.delete_object(Bucket=bucket, Key=key)
        stage.free()
    check(outcome["state"] == "FAILED", f"the run is {outcome['state']} without {grant}")
    # What the service is refused it says itself, what the job is refused the job says.
    words = f"{outcome['stateDetails']} {stage.last_error(outcome['jobRunId'])}"
    check(grant.action in words and grant.address in words, f"without {grant} the run says: {words}")
    return f"without {grant} the run fails and says so"


def restored(rehearsal: Rehearsal) -> str:
    """Run with the policy as it was deployed."""
    _succeeded(rehearsal)
    return "with all its rights the job succeeds"


def one_run_a_token(rehearsal: Rehearsal) -> str:
    """Submit twice with one token."""
    token, stage = uuid.uuid4().hex, rehearsal.stage
    before = len(stage.executor.runs)
    for _ in range(2):
        outcome = rehearsal.submit("--detach", "--client-token", token)
        check(outcome.status == 0, f"the submitter ended with {outcome.status}:\n{outcome.text}")
    started = list(stage.executor.runs)[before:]
    check(len(started) == 1, f"{len(started)} runs were started")
    outcome = submit(stage.aws.endpoint, "cancel", started[0])
    check(outcome.status == 0, f"the submitter ended with {outcome.status}:\n{outcome.text}")
    state = stage.executor.wait(started[0])["state"]
    check(state == "CANCELLED", f"the run is {state}")
    stage.free()
    return "a token that is sent twice starts one run"


def bad_argument(rehearsal: Rehearsal) -> str:
    """Give the job an option that it refuses, past the submitter's own checks; each attempt says why."""
    outcome = rehearsal.stage.run("--components", "0")
    check(
        (outcome["state"], outcome["attempt"]) == ("FAILED", 2),
        f"the run is {outcome['state']} after {outcome['attempt']}",
    )
    for attempt in (1, 2):
        words = rehearsal.stage.last_error(outcome["jobRunId"], attempt)
        check(words.startswith("error: --components 0 is out of range"), f"attempt {attempt} says {words!r}")
    check("ExitCode: 2" in outcome["stateDetails"], f"the service says {outcome['stateDetails']}")
    return "tried twice; each time the job's last line says what is wrong"


def failure_reported(rehearsal: Rehearsal) -> str:
    """Have the submitter follow the run with the bad argument: it ends with the job's error and the log's address."""
    stage = rehearsal.stage
    failed = [run.record for run in stage.executor.runs.values() if "ExitCode: 2" in (run.record.state_details or "")]
    check(failed, "no run has failed by a bad argument")
    run_id = failed[-1].id
    said = submit(stage.aws.endpoint, "logs", run_id)
    check(said.status == 1, f"the submitter ended with {said.status}:\n{said.text}")
    last = said.text.partition(f"the run {run_id} failed: ")[2]
    for part in (stage.last_error(run_id).removeprefix("error: "), f"/jobs/{run_id}/"):
        check(part in last, f"the submitter's last words, {last!r}, are without {part!r}")
    return "the submitter ends with the job's own last line and the log's address"


def broken_images(rehearsal: Rehearsal, folder: str = "broken") -> str:
    """Have the job read images that are none."""
    stage = rehearsal.stage
    bucket, prefix = stage.locate("Images", folder)
    for number in range(3):
        stage.s3.put_object(Bucket=bucket, Key=f"{prefix}/{number}.jpg", Body=b"no image")
    output = f"{stage.outputs['Results']}/{folder}"
    images = f"s3://{bucket}/{prefix}"
    outcome = stage.run("--images", images, "--output", output, *rehearsal.options, attempts=1)
    for number in range(3):
        stage.s3.delete_object(Bucket=bucket, Key=f"{prefix}/{number}.jpg")
    words = stage.last_error(outcome["jobRunId"])
    check(outcome["state"] == "FAILED", f"the run is {outcome['state']}")
    check(words == "error: no image can be used; rejected: 3 not an image", f"the job says {words!r}")
    return f"the job's last line: {words.removeprefix('error: ')}"


@contextlib.contextmanager
def emptied(stage: Stage) -> Iterator[None]:
    """While it lasts, an archive without a dependency is in the place of the real one."""
    bucket, key = stage.locate("Dependencies")
    real = stage.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz"):
        pass
    stage.s3.put_object(Bucket=bucket, Key=key, Body=content.getvalue())
    try:
        yield
    finally:
        stage.s3.put_object(Bucket=bucket, Key=key, Body=real)


def empty_archive(rehearsal: Rehearsal) -> str:
    """Run without dependencies: nothing but the archive has them."""
    stage = rehearsal.stage
    with emptied(stage):
        outcome = stage.run(*rehearsal.options, attempts=1)
    check(outcome["state"] == "FAILED", f"the run is {outcome['state']} without its dependencies")
    words = stage.last_error(outcome["jobRunId"])
    check("No module named" in words, f"the job says {words!r}")
    return f"what runs is the archive: with an empty one {words.removeprefix('error: ')}"


def _succeeded(rehearsal: Rehearsal) -> None:
    outcome = rehearsal.stage.run(*rehearsal.options)
    words = rehearsal.stage.last_error(outcome["jobRunId"])
    check(outcome["state"] == "SUCCESS", f"the run is {outcome['state']}: {outcome['stateDetails']} {words}")


def _counted(rehearsal: Rehearsal, new: int, reused: int) -> None:
    counts = rehearsal.on_s3().counts
    found = {name: counts[name] for name in ("new", "reused", "rejected")}
    wanted = {"new": new, "reused": reused, "rejected": 0}
    check(found == wanted, f"run.json counts {found}, not {wanted}")

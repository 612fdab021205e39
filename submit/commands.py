"""The verbs of `python -m submit`: a stack and options in, each does one thing; what it tells goes to the screen."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job.errors import JobError
from submit import cost as costs
from submit import report, results
from submit.aws import Clients, connect
from submit.emr_ec2 import ClusterRuns
from submit.emr_serverless import ServerlessRuns
from submit.errors import ExpiredError, LeftError, UnavailableError
from submit.follow import Follower, Screen
from submit.interrupt import Interrupt
from submit.logs import DriverLog
from submit.plan import Plan, RunRequest, plan
from submit.request.targets import TARGETS, Application
from submit.run import Run, Runs
from submit.stack import Stack, find

CANCELLING = "asking the service to cancel the run, and waiting for its end; Ctrl-C again leaves it"


@dataclass(frozen=True)
class StackContext:
    """What the verbs work with: a stack, its runs, and where to say what."""

    clients: Clients
    stack: Stack
    screen: Screen

    @classmethod
    def open(cls, name: str, region: str | None, screen: Screen, target: str | None = None) -> "StackContext":
        """Return the context of the stack of a name. Raises `JobError` where there is none that has this target."""
        clients = connect(region)
        stack = find(clients, name)
        if target not in {None, stack.target.compute}:
            raise JobError(
                f"--target {target}: the stack {name} was deployed with compute={stack.target.compute}; deploy one with"
                f' the other, under another name to have both: make deploy SET="-c compute={target} -c name=…"'
            )
        return cls(clients, stack, screen)

    @property
    def runs(self) -> Runs:
        """The runs of the stack."""
        stack, clients, logs = self.stack, self.clients, self.stack.job.logs
        if isinstance(stack.target, Application):
            return ServerlessRuns(clients.emr_serverless, stack.target.application_id, logs)
        return ClusterRuns(clients.emr, clients.once, stack.name, logs, clients.region)

    def newest(self) -> str:
        """Return the id of the run that was started last. Raises `JobError` where there is none."""
        runs = self.runs.list()
        if not runs:
            raise JobError("there is no run yet: python -m submit starts one")
        return runs[0].id

    def run(self, run_id: str | None) -> Run:
        """Return the run of an id, or the newest. Raises `JobError` where there is none."""
        return self.runs.get(self.newest() if run_id is None else run_id)

    def log(self, run: str) -> DriverLog:
        """Return the log of a run."""
        return self.runs.log(self.clients.s3, run)

    def output(self, run: Run) -> str:
        """Return where a run writes its results."""
        found = run.argument("--output")
        return (found if found else self.stack.job.results).rstrip("/")

    def command(self, verb: str, *run: str) -> str:
        """Return a command to go on with, for this stack."""
        words = ("python -m submit", verb, *run, "--name", self.stack.name, "--region", self.clients.region)
        return " ".join(words)

    def show(self, told: dict[str, str]) -> None:
        """Show lines of a name and a text each."""
        for name, text in told.items():
            self.screen.show(f"{name:10} {text}")


def submit(context: StackContext, request: RunRequest, *, dry_run: bool = False, detach: bool = False) -> None:
    """Start a run and follow it to its end.

    Parameters
    ----------
    context : StackContext
        Where.
    request : RunRequest
        What is asked for.
    dry_run : bool
        Show the request as JSON instead, byte for byte as it would be sent.
    detach : bool
        Show the id of the run and leave it.

    Raises
    ------
    JobError
        Where nothing was started.
    RunError
        Where the run was no success, or could not be followed.
    KeyboardInterrupt
        Where it was left by a second Ctrl-C.
    """
    planned = plan(context.stack, request)
    context.screen.say(str(planned))
    if dry_run:
        context.screen.show(json.dumps(planned.request, indent=2))
        return
    with Interrupt(CANCELLING) as interrupt:
        follower = Follower(context.runs, context.screen, interrupt)
        run_id = _start(follower, context, planned)
        if detach and not interrupt.asked:
            context.screen.say(f"started; to follow it: {context.command('logs', run_id)}")
            context.screen.show(run_id)
            return
        context.screen.say(f"run        {run_id}")
        if planned.keep_alive:
            cluster_id = run_id.partition("/")[0]
            context.screen.say(f"cluster    {cluster_id}, for more runs: {context.command('--cluster', cluster_id)}")
        _to_the_end(follower, context, run_id)


def _start(follower: Follower, context: StackContext, planned: Plan) -> str:
    try:
        return follower.patiently(lambda: context.runs.start(planned.request))
    except KeyboardInterrupt:
        context.screen.say(f"the run may have been started: {context.command('list')} tells")
        raise
    except (UnavailableError, ExpiredError) as error:
        raise LeftError(
            f"{error}. The run may have been started: {context.command('list')} tells, and the same"
            f" options with --client-token {planned.client_token} start it if not, and never a second one"
        ) from error


def _to_the_end(follower: Follower, context: StackContext, run_id: str) -> None:
    """Follow a run, say how it ended, and raise where that is no success."""
    log = context.log(run_id)
    going_on = (
        f"The run goes on: {context.command('logs', run_id)} follows it, {context.command('cancel', run_id)} ends it"
    )
    try:
        run = follower.follow(run_id, log)
    except KeyboardInterrupt:
        context.screen.say(going_on)
        raise
    except JobError as error:
        raise LeftError(f"{error}. {going_on}") from error
    except Exception as error:
        raise LeftError(f"{type(error).__name__}: {error}. {going_on}") from error
    told = _run_json(context, context.output(run)) if run.state == "SUCCESS" else None
    context.screen.show("")
    context.show(report.lines(run, context.output(run), told))
    if run.state != "SUCCESS":
        raise report.failure(run, log)
    context.screen.show(f"{'download':10} {context.command('results', run_id)} --download DIR")


def _run_json(context: StackContext, output: str) -> dict[str, Any] | None:
    try:
        return results.read(context.clients.s3, output)
    except JobError as error:  # what the run has done does not hang on that
        context.screen.say(str(error))
        return None


def logs(context: StackContext, run_id: str | None) -> None:
    """Show the job's lines of a run from the first, follow it while it is under way, and end as it ends.

    Ctrl-C leaves the run as it is. Raises as `submit`.
    """
    chosen = context.newest() if run_id is None else run_id
    # What was asked for may not be there at all, which is no lost connection.
    context.runs.get(chosen)
    nothing = Interrupt("")  # not entered: Ctrl-C ends this program as any other
    _to_the_end(Follower(context.runs, context.screen, nothing), context, chosen)


def status(context: StackContext, run_id: str | None) -> None:
    """Show what is known of a run, with the address of its log and, while it is at work, of its Spark UI."""
    run = context.run(run_id)
    told = report.lines(
        run, context.output(run), _run_json(context, context.output(run)) if run.state == "SUCCESS" else None
    )
    if run.details:
        told["details"] = run.details
    told["log"] = context.log(run.id).address
    if run.started is not None:
        try:
            told["Spark UI"] = context.runs.link(run.id)
        except JobError as error:
            context.screen.say(str(error))
    context.show(told)


def cancel(context: StackContext, run_id: str | None) -> None:
    """Ask the service to cancel a run. Raises `JobError` for one that has ended."""
    run = context.run(run_id)
    if run.final:
        raise JobError(f"the run {run.id} has ended ({run}): there is nothing to cancel")
    context.screen.show(f"{context.runs.cancel(run.id)}; {context.command('status', run.id)} tells when it has")


def list_runs(context: StackContext, count: int) -> None:
    """Show the newest runs, a line each."""
    runs = context.runs.list()
    wide = max((len(one.id) for one in runs[:count]), default=16)
    context.screen.show(f"{'run':{wide}}  {'state':10}  {'submitted':19}  name")
    for one in runs[:count]:
        context.screen.show(f"{one.id:{wide}}  {one.state:10}  {one.created:%Y-%m-%d %H:%M:%S}  {one.name}")
    if len(runs) > count:
        context.screen.say(f"and {len(runs) - count:,} older ones: --count shows more")


def cost(context: StackContext, run_id: str | None) -> None:
    """Show what a run was billed, with its price."""
    run = context.run(run_id)
    context.show({"run": run.id, "state": str(run), "billed": report.billed(run)})


def estimate(screen: Screen, work: costs.Work, compute: str) -> None:
    """Show what pictures would cost on a stack as it is by default, and what that assumes; AWS is not asked."""
    workers, target = costs.DEFAULT_WORKERS, TARGETS[compute]
    screen.show(f"{costs.estimate(work.pictures, work.rate, workers, target)} for {work}, {costs.BASIS}. Assumed:")
    for line in costs.assumptions(work.rate, workers, target):
        screen.show(f"- {line}")


def show_results(context: StackContext, run_id: str | None, folder: Path | None) -> None:
    """Show what the output of a run holds now, or copy it into a new folder (without the features)."""
    # The service forgets runs after a while; what they wrote stays.
    known = run_id is not None or context.runs.list()
    output = context.output(context.run(run_id)) if known else context.stack.job.results
    told = results.read(context.clients.s3, output)
    if told is None:
        raise JobError(f"there are no results in {output} yet")
    context.show(
        {
            "results": output,
            "written": told["written"].strftime("%Y-%m-%d %H:%M:%S %Z"),
            "images": results.counts(told),
            "PCA": f"{told['components']} components hold {sum(told['explained_variance_ratio']):.3f} of the variance",
        }
    )
    if folder is not None:
        files = results.download(context.clients.s3, output, folder)
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        context.show({"copied": f"{len(files):,} files, {megabytes:,.1f} MB, to {folder}; not the features, a cache"})

"""The verbs of `python -m submit`: a stack and options in, lines on the screen out."""

import json
from dataclasses import dataclass
from pathlib import Path

from job.errors import JobError
from submit import cost as costs
from submit import report, results
from submit.aws import Clients
from submit.emr_ec2 import ClusterRuns
from submit.emr_serverless import ServerlessRuns
from submit.errors import ExpiredError, LeftError, UnavailableError
from submit.follow import Follower, Screen
from submit.interrupt import Interrupt
from submit.logs import DriverLog
from submit.patience import PATIENCE, Patience
from submit.plan import Plan, plan
from submit.request.targets import TARGETS, Application
from submit.run import Run, Runs
from submit.run_request import RunRequest
from submit.stack import Stack, find

CANCELLING = "asking the service to cancel the run, and waiting for its end; Ctrl-C again leaves it"


@dataclass(frozen=True)
class StackContext:
    """A stack with the clients of its services, and the screen of the command."""

    clients: Clients
    stack: Stack
    screen: Screen
    patience: Patience = PATIENCE

    @classmethod
    def open(
        cls, clients: Clients, name: str, screen: Screen, target: str | None = None, patience: Patience = PATIENCE
    ) -> "StackContext":
        """Return the context of the stack of a name. Raises `JobError` where there is none with this target."""
        stack = find(clients, name)
        if target not in {None, stack.target.compute}:
            raise JobError(
                f"--target {target}: the stack {name} was deployed with compute={stack.target.compute}; deploy one with"
                f' the other, under another name to have both: make deploy SET="-c compute={target} -c name=…"'
            )
        return cls(clients, stack, screen, patience)

    @property
    def runs(self) -> Runs:
        """The runs of the stack."""
        stack, clients, logs, patience = self.stack, self.clients, self.stack.job.logs, self.patience
        if isinstance(stack.target, Application):
            application_id = stack.target.application_id
            return ServerlessRuns(clients.emr_serverless, application_id, logs, patience.late_serverless)
        return ClusterRuns(clients.emr, clients.once, stack.name, logs, clients.region, patience.late_cluster)

    def follower(self, interrupt: Interrupt) -> Follower:
        """Return a follower of the stack's runs."""
        return Follower(self.runs, self.screen, interrupt, self.patience)

    def newest(self) -> str:
        """Return the id of the newest run. Raises `JobError` where there is none."""
        runs = self.runs.list()
        if not runs:
            raise JobError("there is no run yet: python -m submit starts one")
        return runs[0].id

    def run(self, run_id: str | None) -> Run:
        """Return the run with an id, or the newest. Raises `JobError` where there is none."""
        return self.runs.get(self.newest() if run_id is None else run_id)

    def log(self, run: str) -> DriverLog:
        """Return the log of a run."""
        return self.runs.log(self.clients.s3, run)

    def output(self, run: Run) -> str:
        """Return the address of a run's results."""
        found = run.argument("--output")
        return (found if found else self.stack.job.results).rstrip("/")

    def command(self, verb: str, *run: str) -> str:
        """Return a command for this stack, to go on with."""
        words = ("python -m submit", verb, *run, "--name", self.stack.name, "--region", self.clients.region)
        return " ".join(words)

    def show(self, lines: dict[str, str]) -> None:
        """Show lines, each a name and a text."""
        for name, text in lines.items():
            self.screen.show(f"{name:10} {text}")


def submit(context: StackContext, request: RunRequest, *, dry_run: bool = False, detach: bool = False) -> None:
    """Start a run and follow it to its end.

    Parameters
    ----------
    context : StackContext
        The stack to run on.
    request : RunRequest
        The run that is asked for.
    dry_run : bool
        Show the request as JSON instead, byte for byte as it is sent otherwise.
    detach : bool
        Show the id of the run and leave it.

    Raises
    ------
    JobError
        Where nothing was started.
    RunError
        Where the run did not succeed, or could not be followed.
    KeyboardInterrupt
        After a second Ctrl-C.
    """
    planned = plan(context.stack, request)
    context.screen.say(str(planned))
    if dry_run:
        context.screen.show(json.dumps(planned.request, indent=2))
        return
    with Interrupt(CANCELLING, context.patience.notice) as interrupt:
        follower = context.follower(interrupt)
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
        context.screen.say(f"the run may have been started; look with {context.command('list')}")
        raise
    except (UnavailableError, ExpiredError) as error:
        raise LeftError(
            f"{error}. The run may have been started: look with {context.command('list')}, or submit the same options"
            f" with --client-token {planned.client_token}, which starts it only if it was not"
        ) from error


def _to_the_end(follower: Follower, context: StackContext, run_id: str) -> None:
    """Follow a run, show how it ended, and raise an error where that is no success."""
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
    context.screen.show("")
    context.show(_lines(context, run))
    if not run.succeeded:
        raise report.failure(run, log)
    context.screen.show(f"{'download':10} {context.command('results', run_id)} --download DIR")


def _lines(context: StackContext, run: Run) -> dict[str, str]:
    """Return what is known of a run, with the counts of its results where it has succeeded."""
    output, found = context.output(run), None
    if run.succeeded:
        try:
            found = results.read(context.clients.s3, output)
        except JobError as error:  # the run has succeeded all the same
            context.screen.say(str(error))
    return report.lines(run, output, found)


def logs(context: StackContext, run_id: str | None) -> None:
    """Show the job's lines of a run from the first, follow it while it is under way, and end as it ends.

    Ctrl-C leaves the run as it is. Raises as `submit`.
    """
    chosen = context.newest() if run_id is None else run_id
    # A run that does not exist is an error at once; a follower would report it as a lost connection.
    context.runs.get(chosen)
    interrupt = Interrupt("", context.patience.notice)  # not entered: Ctrl-C ends this program like any other
    _to_the_end(context.follower(interrupt), context, chosen)


def status(context: StackContext, run_id: str | None) -> None:
    """Show what is known of a run, the address of its log and, once it has started, of its Spark UI."""
    run = context.run(run_id)
    lines = _lines(context, run)
    if run.details:
        lines["details"] = run.details
    lines["log"] = context.log(run.id).address
    if run.started is not None:
        try:
            lines["Spark UI"] = context.runs.link(run.id)
        except JobError as error:
            context.screen.say(str(error))
    context.show(lines)


def cancel(context: StackContext, run_id: str | None) -> None:
    """Ask the service to cancel a run. Raises `JobError` for one that has ended."""
    run = context.run(run_id)
    if run.final:
        raise JobError(f"the run {run.id} has ended ({run}): there is nothing to cancel")
    context.screen.show(
        f"{context.runs.cancel(run.id)}; see when it has ended with {context.command('status', run.id)}"
    )


def list_runs(context: StackContext, count: int) -> None:
    """Show the newest runs, a line each."""
    runs = context.runs.list()
    width = max((len(run.id) for run in runs[:count]), default=16)
    context.screen.show(f"{'run':{width}}  {'state':10}  {'submitted':19}  name")
    for run in runs[:count]:
        context.screen.show(f"{run.id:{width}}  {run.state:10}  {run.created:%Y-%m-%d %H:%M:%S}  {run.name}")
    if len(runs) > count:
        context.screen.say(f"and {len(runs) - count:,} older ones: --count shows more")


def cost(context: StackContext, run_id: str | None) -> None:
    """Show what a run was billed, with its price."""
    run = context.run(run_id)
    context.show({"run": run.id, "state": str(run), "billed": report.billed(run)})


def estimate(screen: Screen, work: costs.Work, compute: str) -> None:
    """Show the estimated cost of images on a stack with default settings, and its assumptions; AWS is not asked."""
    workers, target = costs.DEFAULT_WORKERS, TARGETS[compute]
    rate = costs.MEASURED.rate(work)
    screen.show(f"{costs.estimate(work.images, rate, workers, target)} for {work}, {costs.BASIS}. Assumed:")
    for line in costs.MEASURED.sentences(rate, workers, target):
        screen.show(f"- {line}")


def show_results(context: StackContext, run_id: str | None, folder: Path | None) -> None:
    """Show the current results at the output of a run, or copy them into a new folder, without the features."""
    # The service forgets runs after a while; their results stay.
    known = run_id is not None or context.runs.list()
    output = context.output(context.run(run_id)) if known else context.stack.job.results
    current = results.read(context.clients.s3, output)
    if current is None:
        raise JobError(f"there are no results in {output} yet")
    context.show(
        {
            "results": output,
            "written": current.written.strftime("%Y-%m-%d %H:%M:%S %Z"),
            "images": str(current.counts),
            "PCA": f"{current.components} components hold {current.explained_variance:.3f} of the variance",
        }
    )
    if folder is not None:
        files = results.download(context.clients.s3, output, folder)
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        context.show({"copied": f"{len(files):,} files, {megabytes:,.1f} MB, to {folder}, without the features"})

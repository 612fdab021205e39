"""The commands that start a run in the cloud, follow it and report on it: a thin layer, the only place that exits."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.options import add_options
from submit import aws, commands, cost
from submit.commands import StackContext
from submit.patience import PATIENCE, Patience
from submit.request.targets import DEFAULT_NAME, DEFAULT_REGION, TARGETS, Application
from submit.run_request import RunRequest, submission_options

_PROG = "python -m submit"
_EPILOG = """exit status: 0 success; 1 the run failed; 2 a value cannot be used, and nothing was started; 3 the run was
cancelled; 4 the service ended it at its time-out; 5 the connection to AWS was lost, the run goes on; 130 Ctrl-C

Ctrl-C asks the service to cancel the run, and to terminate the cluster that it has started, and waits for its end. A
second Ctrl-C leaves at once. What was committed stays: the next run goes on from there. Credentials are found as by the
aws command: AWS_PROFILE, aws sso login, or a role.

examples:
  python -m submit                          all images of the stack, with its settings
  python -m submit --limit 100 --max-executors 1 --timeout-minutes 30
  python -m submit --dry-run                the request as JSON, for aws emr-serverless start-job-run --cli-input-json
  python -m submit --target cluster --keep-alive   on a new cluster, which waits for more runs; then --cluster ID
  ID=$(python -m submit --detach)           start it and go home
  python -m submit logs $ID                 follow it, or read its log
  python -m submit cost --images 1000000    an estimate; needs neither stack nor account
  python -m submit results --download DIR   the results, without the features
"""


class Terminal:
    """Prints messages of the submitter on standard error, and output of the job and results on standard output."""

    def say(self, text: str) -> None:
        """Print a line for people."""
        print(text, file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Print a line of the results."""
        print(text, flush=True)


@dataclass(frozen=True)
class Verb:
    """A verb of the command line: its help, and what it does with the options and a function that opens the stack."""

    text: str
    run: Callable[[argparse.Namespace, Callable[[], StackContext]], None]


def _submit(options: argparse.Namespace, open_stack: Callable[[], StackContext]) -> None:
    request = RunRequest.from_options(vars(options))  # before AWS is asked anything
    commands.submit(open_stack(), request, dry_run=options.dry_run, detach=options.detach)


def _cost(options: argparse.Namespace, open_stack: Callable[[], StackContext]) -> None:
    if options.new_images is None:
        commands.cost(open_stack(), options.run_id)
        return
    if options.run_id is not None:
        raise JobError("a run's ID and --images contradict each other: give one of them")
    work = cost.Work(options.new_images, options.alpha, options.input_size)
    commands.estimate(Terminal(), work, options.target or Application.compute)


_VERBS = {
    "status": Verb(
        "show the state of a run, its time, cost, log and Spark UI",
        lambda options, open_stack: commands.status(open_stack(), options.run_id),
    ),
    "logs": Verb(
        "follow the log of a run to its end, and exit with its status; Ctrl-C leaves the run as it is",
        lambda options, open_stack: commands.logs(open_stack(), options.run_id),
    ),
    "cancel": Verb(
        "ask the service to end a run", lambda options, open_stack: commands.cancel(open_stack(), options.run_id)
    ),
    "list": Verb("list the newest runs", lambda options, open_stack: commands.list_runs(open_stack(), options.count)),
    "cost": Verb("show what a run was billed; with --images N, estimate the cost of N images", _cost),
    "results": Verb(
        "show the current results; --download DIR copies them",
        lambda options, open_stack: commands.show_results(open_stack(), options.run_id, options.download),
    ),
}


def main(
    arguments: Sequence[str] | None = None,
    *,
    prog: str = _PROG,
    connect: Callable[[str | None], aws.Clients] = aws.connect,
    patience: Patience = PATIENCE,
) -> int:
    """Run one command; return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command, by default of this process.
    prog : str
        What help texts call the program.
    connect : callable
        Returns the clients for a region, or for the default region.
    patience : Patience
        How long to wait for AWS.
    """
    options = _parse(sys.argv[1:] if arguments is None else arguments, prog)

    def open_stack() -> StackContext:
        return StackContext.open(connect(options.region), options.name, Terminal(), options.target, patience)

    return exit_status(lambda: options.run(options, open_stack), new_log(), reader_gone=1)


def _parse(words: Sequence[str], prog: str = _PROG) -> argparse.Namespace:
    """Return the options; a verb comes first, so that a mistyped option is not taken for one."""
    if words and words[0] in _VERBS:
        return _verb_parser(words[0], prog).parse_args(words[1:])
    return _run_parser(prog).parse_args(words)


def _run_parser(prog: str) -> argparse.ArgumentParser:
    verbs = "\n".join(f"  {name:10}{verb.text}" for name, verb in _VERBS.items())
    examples = _EPILOG.replace(_PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [options]\n       {prog} VERB [ID] [options]",
        description="Start the job on EMR with the settings of the stack, follow it, and show what it cost.",
        epilog=f"verbs (each has its own --help; without ID they take the newest run):\n{verbs}\n\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=_submit)
    add_version(parser)
    add_options(parser, submission_options())
    _add_stack(parser)
    parser.add_argument(
        "--max-executors", type=int, metavar="N", help="number of executors at most (default: as the stack allows)"
    )
    parser.add_argument(
        "--timeout-minutes",
        type=int,
        metavar="N",
        help="minutes after which the service ends the run (default: that of the stack)",
    )
    parser.add_argument(
        "--client-token",
        metavar="TOKEN",
        help="the service starts one run for each token, however often it is sent (default: a new one each time)",
    )
    _add_work(parser, "--new-images")
    group = parser.add_argument_group("clusters of EC2 instances", "for a stack with compute=cluster")
    group.add_argument(
        "--keep-alive", action="store_true", help="keep the new cluster for more runs, until it was idle for too long"
    )
    group.add_argument("--cluster", metavar="ID", help="run on this running cluster instead of a new one")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show the request as JSON, send nothing")
    how.add_argument("--detach", action="store_true", help="show the ID of the run and leave it running")
    return parser


def _verb_parser(name: str, prog: str) -> argparse.ArgumentParser:
    verb = _VERBS[name]
    parser = argparse.ArgumentParser(
        prog=f"{prog} {name}",
        description=f"{verb.text[0].upper()}{verb.text[1:]}.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=verb.run)
    add_version(parser)
    _add_stack(parser)
    if name == "list":
        parser.add_argument("--count", type=int, default=20, metavar="N", help="number of runs (default: 20)")
    else:
        parser.add_argument("run_id", nargs="?", metavar="ID", help="the run (default: the newest)")
    if name == "cost":
        _add_work(parser, "--images")
    if name == "results":
        parser.add_argument("--download", type=Path, metavar="DIR", help="a new folder to copy them to")
    return parser


def _add_work(parser: argparse.ArgumentParser, images_flag: str) -> None:
    group = parser.add_argument_group("estimate of the cost", "these options change nothing in a run")
    group.add_argument(
        images_flag, dest="new_images", type=int, metavar="N", help="number of images that no run has seen yet"
    )
    for flag, kind, default, text in (
        ("--alpha", float, cost.DEFAULT_ALPHA, "width of the deployed network"),
        ("--input-size", int, cost.DEFAULT_INPUT_SIZE, "side of its input in pixels"),
    ):
        group.add_argument(flag, type=kind, default=default, metavar="X", help=f"{text} (default: {default})")


def _add_stack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        choices=tuple(TARGETS),
        help="where the stack runs its jobs (default: as it was deployed; serverless for an estimate)",
    )
    parser.add_argument(
        "--name", default=DEFAULT_NAME, metavar="STACK", help=f"name of the stack (default: {DEFAULT_NAME})"
    )
    parser.add_argument(
        "--region",
        metavar="REGION",
        help=f"region of the stack (default: that of the AWS configuration, else {DEFAULT_REGION})",
    )


if __name__ == "__main__":
    sys.exit(main())

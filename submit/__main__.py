"""The commands that start a job run in the cloud, follow it and tell of it: a thin layer, the only place that exits."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from job.errors import JobError
from job.options import add_options
from submit import commands, cost
from submit.commands import StackContext
from submit.plan import RunRequest, submission_options
from submit.request.targets import DEFAULT_NAME, DEFAULT_REGION, TARGETS, Application

_EPILOG = """exit status: 0 done; 1 the run failed; 2 something given cannot be used, and nothing was started; 3 the run
was cancelled; 4 it was ended by its time-out; 5 AWS could not be asked any longer, the run goes on; 130 left by Ctrl-C

Ctrl-C asks the service to cancel the run, and to terminate the cluster that it has started, and waits for its end; a
second Ctrl-C leaves at once. Whatever was committed stays: the next run goes on from there. AWS is found as by the aws
command: AWS_PROFILE, aws sso login, or a role.

examples:
  python -m submit                          all pictures of the stack, as its settings say
  python -m submit --limit 100 --max-executors 1 --timeout-minutes 30
  python -m submit --dry-run                the request as JSON, for aws emr-serverless start-job-run --cli-input-json
  python -m submit --target cluster --keep-alive   on a new cluster, which waits for more; then --cluster ID
  ID=$(python -m submit --detach)           start it and go home
  python -m submit logs $ID                 follow it, or read what it said
  python -m submit cost --pictures 1000000  an estimate; needs neither stack nor account
  python -m submit results --download DIR   the results, without the features
"""
_VERBS = {
    "status": "what is known of a run: state, time, cost, log, Spark UI",
    "logs": "the job's own lines of a run, to its end, with its exit status; Ctrl-C leaves the run as it is",
    "cancel": "ask the service to end a run",
    "list": "the newest runs",
    "cost": "what a run was billed, and its price; --pictures N: what so many would cost",
    "results": "what the results hold now; --download DIR copies them",
}


class Terminal:
    """Says on standard error what the submitter has to say, and on standard output what the job said and results."""

    def say(self, text: str) -> None:
        """Print a line for people."""
        print(text, file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Print a line of the results."""
        print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(options)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who reads has gone, as head does; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    given = vars(options)
    verb = options.verb
    # Before AWS is asked anything.
    request = RunRequest.from_options(given) if verb is None else None
    if verb == "cost" and options.pictures is not None:
        if options.run_id is not None:
            raise JobError("a run's ID and --pictures contradict each other: give one of them")
        work = cost.Work(options.pictures, options.alpha, options.input_size)
        commands.estimate(Terminal(), work, options.target or Application.compute)
        return
    context = StackContext.open(options.name, options.region, Terminal(), options.target)
    if request is not None:
        commands.submit(context, request, dry_run=options.dry_run, detach=options.detach)
    elif verb == "list":
        commands.list_runs(context, options.count)
    elif verb == "results":
        commands.show_results(context, options.run_id, options.download)
    else:
        one = {"status": commands.status, "logs": commands.logs, "cancel": commands.cancel, "cost": commands.cost}
        one[verb](context, options.run_id)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the options; a verb comes first, so that a mistyped option is not taken for one."""
    if words and words[0] in _VERBS:
        return _verb_parser(words[0]).parse_args(words[1:], argparse.Namespace(verb=words[0]))
    return _run_parser().parse_args(words, argparse.Namespace(verb=None))


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m submit",
        usage="python -m submit [options]\n       python -m submit VERB [ID] [options]",
        description="Start the job on EMR, as the stack has it, follow it, and say what it cost.",
        epilog="\n".join(
            ["verbs (each has its own --help; ID is the newest run where it is not given):", *_verb_lines()]
        )
        + f"\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser, submission_options())
    _add_stack(parser)
    parser.add_argument("--max-executors", type=int, metavar="N", help="at most so many workers beside the driver")
    parser.add_argument("--timeout-minutes", type=int, metavar="N", help="when the service is to end the run")
    parser.add_argument(
        "--client-token",
        metavar="TOKEN",
        help="the service starts one run for each token, however often it is sent (default: a new one each time)",
    )
    _add_work(parser)
    group = parser.add_argument_group("clusters of EC2 instances", "for a stack with compute=cluster")
    group.add_argument(
        "--keep-alive", action="store_true", help="keep the new cluster for more runs, until it was idle for too long"
    )
    group.add_argument("--cluster", metavar="ID", help="run on a cluster that is there already, instead of a new one")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show the request as JSON, send nothing")
    how.add_argument("--detach", action="store_true", help="show the id of the run and leave it running")
    return parser


def _verb_parser(verb: str) -> argparse.ArgumentParser:
    text = _VERBS[verb]
    parser = argparse.ArgumentParser(
        prog=f"python -m submit {verb}", description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    _add_stack(parser)
    if verb == "list":
        parser.add_argument("--count", type=int, default=20, metavar="N", help="how many (default: 20)")
    else:
        parser.add_argument("run_id", nargs="?", metavar="ID", help="of which run; the newest where it is not given")
    if verb == "cost":
        _add_work(parser)
    if verb == "results":
        parser.add_argument("--download", type=Path, metavar="DIR", help="a new folder to copy them to")
    return parser


def _verb_lines() -> list[str]:
    return [f"  {verb:10}{text}" for verb, text in _VERBS.items()]


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("estimate of the cost", "nothing of this is sent, or changes what runs")
    group.add_argument("--pictures", type=int, metavar="N", help="pictures that no run has seen yet")
    for flag, kind, default, text in (
        ("--alpha", float, cost.DEFAULT_ALPHA, "width of the network that was deployed"),
        ("--input-size", int, cost.DEFAULT_INPUT_SIZE, "side of its input in pixels"),
    ):
        group.add_argument(flag, type=kind, default=default, metavar="X", help=f"{text} (default: {default})")


def _add_stack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        choices=tuple(TARGETS),
        help="where the stack runs its jobs (default: whatever it was deployed for; for cost --pictures serverless)",
    )
    parser.add_argument(
        "--name", default=DEFAULT_NAME, metavar="STACK", help=f"name of the stack (default: {DEFAULT_NAME})"
    )
    parser.add_argument(
        "--region",
        metavar="REGION",
        help=f"where the stack is (default: the region of the AWS session, {DEFAULT_REGION} where it has none)",
    )


if __name__ == "__main__":
    sys.exit(main())

"""The command `fruits`: one name for the commands of `job`, `lookup`, `submit` and `bootstrap`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from job.command_line import add_version

# Command -> the module whose `main` runs it, whether that module is given the command's name, and its help.
COMMANDS: dict[str, tuple[str, bool, str]] = {
    "run": ("job.__main__", True, "run the whole job: featurize, then reduce, with the report"),
    "featurize": ("job.__main__", True, "bring the features table up to date with the images"),
    "reduce": ("job.__main__", True, "reduce the current features by PCA; write results and report"),
    "report": ("job.__main__", True, "make report.html of the current results again"),
    "check": ("job.__main__", True, "read back everything in an output, and list its faults"),
    "prune": ("job.__main__", True, "delete features of images and models that the latest run did not list"),
    "search": ("lookup.__main__", True, "find the images nearest to a photo"),
    "classify": ("lookup.__main__", True, "name what a photo shows, with a confidence"),
    "evaluate": ("lookup.__main__", True, "measure how often classify is right, by cross-validation"),
    "serve": ("lookup.__main__", True, "serve a page and an endpoint that name photos"),
    "submit": (
        "submit.__main__",
        False,
        "start the job on AWS and follow it; see runs, logs and cost",
    ),
    "model": ("bootstrap.model", False, "build a model folder"),
    "sample": ("bootstrap.sample", False, "render the sample images"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if not words or words[0] not in COMMANDS:
        parser.parse_args(words or ["--help"])
        return 0
    command, rest = words[0], words[1:]
    module, named, _ = COMMANDS[command]
    run: Callable[..., int] = import_module(module).main
    return run(words, prog="fruits") if named else run(rest, prog=f"fruits {command}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fruits",
        description="From a bucket of images to feature vectors, PCA and named photos. Each command has a --help.",
    )
    add_version(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (_, _, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())

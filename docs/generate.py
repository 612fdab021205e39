"""Write the pages that come from the code: `--help` of every command, and the settings of the stack.

    python -m docs.generate

The same code gives the same pages on any machine: the width is fixed, and no page holds a path or a number of cores.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import bootstrap.model
import bootstrap.package
import bootstrap.sample
import job.__main__
import lookup.__main__
import submit.__main__
from infra.settings import Settings
from job.options import STACK_SETTING, describe, options_of

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 100
NOTE = "% Generated from the code by `make docs-generate`: edit the help text there, not this page.\n"

Main = Callable[[list[str]], object]


@dataclass(frozen=True)
class Command:
    """A command of the reference.

    Attributes
    ----------
    name : str
        Name of its page, and of the subcommand of `fruits` where it is one.
    module : str
        The module that runs it, as `python -m` takes it.
    main : callable
        Its entry point.
    verbs : tuple of str
        Words that come before `--help`, one help text each; the empty word stands for none.
    summary : str
        What the command does, for the table of commands.
    """

    name: str
    module: str
    main: Main
    verbs: tuple[str, ...]
    summary: str
    is_subcommand: bool = True


_JOB: tuple[tuple[str, str], ...] = (
    ("run", "the whole job: features, PCA, checks and report"),
    ("featurize", "bring the features table up to date"),
    ("reduce", "PCA of the current features, results, checks and report"),
    ("report", "make the report again"),
    ("check", "read back everything that an output holds"),
    ("prune", "delete features that the latest run did not list"),
)
_LOOKUP: tuple[tuple[str, str], ...] = (
    ("search", "the images nearest to a photo"),
    ("classify", "a label for a photo, with its confidence"),
    ("evaluate", "how often labels are right"),
    ("serve", "a page and an endpoint that name photos"),
)
COMMANDS = (
    *(Command(verb, "job", job.__main__.main, (verb,), text) for verb, text in _JOB),
    *(Command(verb, "lookup", lookup.__main__.main, (verb,), text) for verb, text in _LOOKUP),
    Command(
        "submit",
        "submit",
        submit.__main__.main,
        ("", "status", "logs", "cancel", "list", "cost", "results"),
        "start a run on AWS, follow it, cancel it, price it",
    ),
    Command("sample", "bootstrap.sample", bootstrap.sample.main, ("",), "render the included sample"),
    Command("model", "bootstrap.model", bootstrap.model.main, ("",), "make a model folder"),
    Command("package", "bootstrap.package", bootstrap.package.main, ("",), "build what the cloud runs", False),
)


def help_text(main: Main, words: Sequence[str]) -> str:
    """Return what a command prints for `--help`, 100 columns wide and without colors."""
    output = StringIO()
    fixed = {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    with patch.dict(os.environ, fixed), redirect_stdout(output), suppress(SystemExit):
        main([*words, "--help"])
    return output.getvalue().rstrip() + "\n"


def command_page(command: Command) -> str:
    """Return the page of a command: its title, its other name, and its help."""
    by_module = f"python -m {command.module}"
    if command.name in command.verbs:
        by_module += f" {command.name}"
    lines = [NOTE, f"# {command_title(command)}\n"]
    if command.is_subcommand:
        lines.append(f"`{by_module}` is the same command.\n")
    for verb in command.verbs:
        if verb and verb != command.name:
            lines.append(f"## {verb}\n")
        words = [verb] if verb else []
        lines.append(f"```text\n{help_text(command.main, words)}```\n")
    return "\n".join(lines)


def command_title(command: Command) -> str:
    """Return how a command is called."""
    return f"fruits {command.name}" if command.is_subcommand else f"python -m {command.module}"


def index_page() -> str:
    """Return the table of commands."""
    rows = [f"| [`{command_title(command)}`]({command.name}.md) | {command.summary} |" for command in COMMANDS]
    pages = "\n".join(command.name for command in COMMANDS)
    return (
        f"{NOTE}\n# Commands\n\nEvery command has `--help`. `fruits --version` prints the version.\n\n"
        "| command | what it does |\n|---|---|\n" + "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    )


_SETTINGS_HEAD = """# Settings

Pass a setting on the command line, for one deployment:

```sh
make deploy SET="-c region=eu-west-1 -c schedule=03:30"
```

`cdk` itself takes them as `-c name=value`.
Pass every setting on each deployment, or put it in `cdk.json`, under `context`:
a missing one falls back to its default.

A name that is no setting, or a value that is not allowed, ends in an error before anything is deployed.
"""


def settings_page() -> str:
    """Return the table of the settings of the stack."""
    rows = [
        f"| `{each.name}` | {each.default} | {_cell(each.allowed or each.type)} | {_cell(each.help)} |"
        for each in describe(options_of(Settings), STACK_SETTING)
    ]
    head = "| setting | default | allowed | meaning |\n|---|---|---|---|\n"
    return f"{NOTE}\n{_SETTINGS_HEAD}\n{head}" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def pages() -> Mapping[Path, str]:
    """Return every generated page: its path below the repository, and its text."""
    found = {Path("docs/reference") / f"{command.name}.md": command_page(command) for command in COMMANDS}
    found[Path("docs/reference/index.md")] = index_page()
    found[Path("docs/aws/settings.md")] = settings_page()
    return found


def main() -> int:
    """Write every generated page; return the exit status."""
    for path, text in pages().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
        print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

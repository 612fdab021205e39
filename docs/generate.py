"""Write the pages that come from the code: `--help` of every command, and the settings of the stack.

    python -m docs.generate

The same code gives the same pages on any machine: the width is fixed, and no page holds a path or a number of cores.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import bootstrap.package
from fruits.__main__ import COMMANDS as SUBCOMMANDS
from fruits.__main__ import main as fruits_main
from infra.settings import StackSettings
from job.options import STACK_SETTING, describe, options_of

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 100
NOTE = "% Generated from the code by `make docs-generate`: edit the help text there, not this page.\n"
# Verbs of a subcommand that have a help text of their own.
VERBS = {"submit": ("status", "logs", "cancel", "list", "cost", "results")}

Main = Callable[[list[str]], object]


def help_text(main: Main, *words: str) -> str:
    """Return what a command prints for `--help`, 100 columns wide and without colors."""
    output = StringIO()
    fixed = {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    with patch.dict(os.environ, fixed), redirect_stdout(output), suppress(SystemExit):
        main([*words, "--help"])
    return f"```text\n{output.getvalue().rstrip()}\n```\n"


def command_page(name: str) -> str:
    """Return the page of a subcommand of `fruits`: its title, its other name, its help and that of its verbs."""
    module, named, _ = SUBCOMMANDS[name]
    other_name = f"python -m {module.removesuffix('.__main__')}" + (f" {name}" if named else "")
    lines = [NOTE, f"# fruits {name}\n", f"`{other_name}` is the same command.\n", help_text(fruits_main, name)]
    for verb in VERBS.get(name, ()):
        lines += [f"## {verb}\n", help_text(fruits_main, name, verb)]
    return "\n".join(lines)


def package_page() -> str:
    """Return the page of the one command that is no subcommand of `fruits`: it needs a clone."""
    return "\n".join([NOTE, "# python -m bootstrap.package\n", help_text(bootstrap.package.main)])


def index_page() -> str:
    """Return the table of commands."""
    rows = [f"| [`fruits {name}`]({name}.md) | {text} |" for name, (_, _, text) in SUBCOMMANDS.items()]
    rows.append("| [`python -m bootstrap.package`](package.md) | build what the cloud runs; in a clone only |")
    names = "\n".join([*SUBCOMMANDS, "package"])
    return (
        f"{NOTE}\n# Commands\n\nEvery command has `--help`. `fruits --version` prints the version.\n\n"
        "| command | what it does |\n|---|---|\n" + "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
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
        for each in describe(options_of(StackSettings), STACK_SETTING)
    ]
    head = "| setting | default | allowed | meaning |\n|---|---|---|---|\n"
    return f"{NOTE}\n{_SETTINGS_HEAD}\n{head}" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def pages() -> Mapping[Path, str]:
    """Return every generated page: its path below the repository, and its text."""
    found = {Path("docs/reference") / f"{name}.md": command_page(name) for name in SUBCOMMANDS}
    found[Path("docs/reference/package.md")] = package_page()
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

"""Options: dataclass fields with help and bounds in; checks, command lines and reference tables out."""

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from job.errors import JobError

_TYPE_NAMES = {bool: "yes or no", int: "whole number", float: "number", str: "text"}
_METAVARS = {int: "N", float: "X"}


@dataclass(frozen=True)
class Notation:
    """How options and their bounds read where users give them.

    Attributes
    ----------
    prefix, hyphen, sign : str
        What stands before a name, between its words, and between name and value.
    span : str
        Bounds on both sides, as a template with `low` and `high`.
    """

    prefix: str
    hyphen: str
    sign: str
    span: str

    def name(self, name: str) -> str:
        """Return how a name is written: `--max-pixels` or `max_vcpu`."""
        return self.prefix + name.replace("_", self.hyphen)

    def value(self, name: str, value: object) -> str:
        """Return how a name and a value are written: `--limit 5` or `max_vcpu=16`."""
        return f"{self.name(name)}{self.sign}{value}"


COMMAND_LINE = Notation("--", "-", " ", "at least {low:,} and at most {high:,}")
STACK_SETTING = Notation("", "_", "=", "{low:,} to {high:,}")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: what it does and which values it takes.

    Attributes
    ----------
    name, default
        Those of the dataclass field.
    type : type
        `bool`, `int`, `float` or `str`; None is allowed beside it where it is the default. A `bool` with the default
        None has a flag for each of its values.
    help : str
        What the option does, in one sentence without a full stop.
    unit : str
        What a number counts, such as `seconds`; empty where the help says it.
    low, above, high : float or None
        Bounds of a number: at least, above, at most.
    choices : tuple
        The only values that are allowed; empty for any.
    pattern, allowed : str
        Regular expression that a text must match in full, and the same in words.
    nonempty : bool
        Whether an empty text is refused.
    required : bool
        Whether a command line must name it.
    metavar : str
        What stands for the value in `--help`; by default N or X for numbers.
    stages : tuple of str
        Stages of the job that use it.
    """

    name: str
    type: type
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    above: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    pattern: str = ""
    allowed: str = ""
    nonempty: bool = False
    required: bool = False
    metavar: str = ""
    stages: tuple[str, ...] = ()

    @property
    def switch(self) -> str:
        """The name of the flag that turns a yes-or-no option away from its default."""
        return self.flag(value=not self.default)

    def flag(self, *, value: bool) -> str:
        """Return the name of the flag that gives a yes-or-no option a value."""
        return self.name if value else f"no_{self.name}"

    def bounds(self, notation: Notation) -> str:
        """Return which values are allowed, in words; empty for any."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.low is not None and self.high is not None:
            return notation.span.format(low=self.low, high=self.high)
        bounds = [f"at least {self.low:,}"] if self.low is not None else []
        bounds += [f"above {self.above:,}"] if self.above is not None else []
        bounds += [f"at most {self.high:,}"] if self.high is not None else []
        return " and ".join(bounds) or self.allowed or (f"like {self.pattern}" if self.pattern else "")

    def fault(self, value: Any, notation: Notation) -> str:
        """Return in a sentence why a value cannot be used, empty where it can."""
        given = notation.value(self.name, value)
        if value is None:
            return ""
        if self.choices and value not in self.choices:
            return f"{given} is unknown; it is {self.bounds(notation)}"
        if value == "":
            return f"{notation.name(self.name)} is empty; it is {self.bounds(notation)}" if self.nonempty else ""
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"{given} cannot be used; it is {self.bounds(notation)}"
        if self.type in {int, float} and not self._in_range(value):
            return f"{given} is out of range; it is {self.bounds(notation)}"
        return ""

    def _in_range(self, value: float) -> bool:
        # Written so that NaN fails every comparison and is refused.
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
        )


def option(default: Any, text: str, *stages: str, **rules: Any) -> Any:
    """Return a dataclass field for an option; `text` is its help, `rules` are further attributes of `Option`."""
    return field(default=default, metadata={"help": text, "stages": stages, **rules})


def options_of(kind: type, *stages: str) -> tuple[Option, ...]:
    """Return the options of a dataclass; with stages, only those that one of these stages uses."""
    found = (
        Option(name=each.name, type=_plain(each.type), default=each.default, **each.metadata) for each in fields(kind)
    )
    return tuple(each for each in found if not stages or set(stages) & set(each.stages))


def _plain(kind: Any) -> type:
    """Return a type without the None beside it."""
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return kinds[0] if kinds else kind  # type: ignore[no-any-return]


def check(settings: Any, notation: Notation = COMMAND_LINE, error: type[JobError] = JobError) -> None:
    """Raise an error for the first option of a dataclass whose value cannot be used."""
    for each in options_of(type(settings)):
        fault = each.fault(getattr(settings, each.name), notation)
        if fault:
            raise error(fault)


def add_options(parser: "argparse.ArgumentParser | argparse._ArgumentGroup", options: Iterable[Option]) -> None:
    """Give a command these options."""
    for each in options:
        if each.type is bool and each.default is None:
            flag = COMMAND_LINE.name(each.name)
            parser.add_argument(flag, dest=each.name, action=argparse.BooleanOptionalAction, help=each.help)
            continue
        if each.type is bool:
            action = "store_false" if each.default else "store_true"
            parser.add_argument(COMMAND_LINE.name(each.switch), dest=each.name, action=action, help=each.help)
            continue
        parser.add_argument(
            COMMAND_LINE.name(each.name),
            dest=each.name,
            type=each.type,
            default=each.default,
            required=each.required,
            choices=each.choices or None,
            metavar=None if each.choices else each.metavar or _METAVARS.get(each.type),
            help=each.help + ("" if each.default in (None, "") else " (default: %(default)s)"),
        )


@dataclass(frozen=True)
class OptionText:
    """An option as a reference page shows it, every part as text; `default` and `allowed` may be empty."""

    name: str
    type: str
    default: str
    allowed: str
    help: str


def describe(options: Iterable[Option], notation: Notation = COMMAND_LINE) -> list[OptionText]:
    """Return what a reference page shows of options, in their order."""
    return [_describe(each, notation) for each in options]


def _describe(given: Option, notation: Notation) -> OptionText:
    flag = given.type is bool and notation is COMMAND_LINE
    default = "" if given.default is None else str(given.default)
    if given.type is bool:
        default = "" if flag else ("yes" if given.default else "no")
    elif given.type in {int, float} and default:
        default = f"{given.default:,g}" if given.type is float else f"{given.default:,}"
    unit = f" {given.unit}" if given.unit else ""
    bounds = given.bounds(notation)
    return OptionText(
        name=notation.name(given.switch if flag else given.name),
        type="flag" if flag else _TYPE_NAMES[given.type],
        default="required" if given.required else default and f"{default}{unit}",
        allowed=bounds and f"{bounds}{unit}",
        help=given.help,
    )

"""Options of a dataclass: what is checked, in which words, and what a reference page shows of them."""

from dataclasses import dataclass

import pytest

from job.errors import JobError
from job.options import COMMAND_LINE, STACK_SETTING, OptionText, check, describe, option, options_of


class RoomError(JobError):
    """Of the room below."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A room with one option of each kind."""

    name: str = option("hall", "what it is called", pattern="[a-z]+", allowed="lower-case letters", nonempty=True)
    floor: int | None = option(None, "how high it lies", "build", low=-1)
    area_m2: float = option(20.0, "how large it is", "build", "sell", unit="m²", above=0, high=1000)
    heated: bool = option(True, "leave the heating out", "sell")
    color: str = option("white", "color of the walls", choices=("white", "red"))
    door: str = option("", "where the door leads", pattern=r"to \w+", required=True)


@pytest.mark.parametrize(
    ("values", "flags", "settings"),
    [
        ({"name": ""}, "--name is empty; it is lower-case letters", "name is empty; it is lower-case letters"),
        (
            {"name": "1"},
            "--name 1 cannot be used; it is lower-case letters",
            "name=1 cannot be used; it is lower-case letters",
        ),
        ({"floor": -2}, "--floor -2 is out of range; it is at least -1", "floor=-2 is out of range; it is at least -1"),
        (
            {"area_m2": 0},
            "--area-m2 0 is out of range; it is above 0 and at most 1,000",
            "area_m2=0 is out of range; it is above 0 and at most 1,000",
        ),
        ({"color": "blue"}, "--color blue is unknown; it is one of white, red", "color=blue is unknown; it is one of"),
        ({"door": "shut"}, r"--door shut cannot be used; it is like to \w+", r"door=shut cannot be used; it is like"),
    ],
)
def test_a_value_is_refused_in_the_notation_of_its_user(values: dict[str, object], flags: str, settings: str) -> None:
    with pytest.raises(JobError) as raised:
        check(Room(**values))  # type: ignore[arg-type]
    assert str(raised.value) == flags
    with pytest.raises(RoomError) as other:
        check(Room(**values), STACK_SETTING, RoomError)  # type: ignore[arg-type]
    assert str(other.value).startswith(settings)


def test_values_that_are_not_given_are_not_checked() -> None:
    check(Room())
    check(Room(door="to nowhere", floor=-1, area_m2=1000))


def test_options_are_those_of_the_stages_that_are_asked_for() -> None:
    assert [each.name for each in options_of(Room)] == ["name", "floor", "area_m2", "heated", "color", "door"]
    assert [each.name for each in options_of(Room, "sell")] == ["area_m2", "heated"]
    assert [each.type for each in options_of(Room)] == [str, int, float, bool, str, str]


def test_a_reference_page_shows_flags_or_settings() -> None:
    flags = describe(options_of(Room), COMMAND_LINE)
    assert flags[1:4] == [
        OptionText("--floor", "whole number", "", "at least -1", "how high it lies"),
        OptionText("--area-m2", "number", "20 m²", "above 0 and at most 1,000 m²", "how large it is"),
        OptionText("--no-heated", "flag", "", "", "leave the heating out"),
    ]
    assert (flags[5].name, flags[5].default) == ("--door", "required")
    settings = describe(options_of(Room), STACK_SETTING)
    assert settings[3] == OptionText("heated", "yes or no", "yes", "", "leave the heating out")
    assert settings[4].allowed == "one of white, red"

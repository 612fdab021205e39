"""The options: their ranges, their words when refused, the command line that is made from them."""

import argparse
import json
import math
from dataclasses import fields
from typing import Any

import pytest
from PIL import Image

from job.errors import JobError
from job.options import add_options, options_of
from job.settings import DEFAULT_MAX_PIXELS, FEATURIZE, PRUNE, REDUCE, Settings

ALLOWED: list[dict[str, Any]] = [
    {"limit": 1},
    {"mode": "fast"},
    {"mode": "exact"},
    {"max_pixels": 1},
    {"max_pixels": 178_956_970},
    {"wave_seconds": 1},
    {"wave_seconds": 3600.0},
    {"decode_seconds": 1},
    {"decode_seconds": 3600},
    {"decode_megabytes": 64},
    {"decode_megabytes": 1_048_576},
    {"components": 1},
    {"variance": 1e-9},
    {"variance": 1},
    {"pca_model": "pca_model/run=1"},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "--limit 0 is out of range; it is at least 1"),
    ({"mode": "quick"}, "--mode quick is unknown; it is one of fast, exact"),
    ({"max_pixels": 0}, "--max-pixels 0 is out of range; it is at least 1 and at most 178,956,970"),
    ({"max_pixels": 178_956_971}, "--max-pixels 178956971 is out of range; it is at least 1 and at most 178,956,970"),
    ({"wave_seconds": 0.5}, "--wave-seconds 0.5 is out of range; it is at least 1 and at most 3,600"),
    ({"wave_seconds": 3601}, "--wave-seconds 3601 is out of range; it is at least 1 and at most 3,600"),
    ({"wave_seconds": math.nan}, "--wave-seconds nan is out of range; it is at least 1 and at most 3,600"),
    ({"decode_seconds": 0.9}, "--decode-seconds 0.9 is out of range; it is at least 1 and at most 3,600"),
    ({"decode_seconds": math.inf}, "--decode-seconds inf is out of range; it is at least 1 and at most 3,600"),
    ({"decode_megabytes": 63}, "--decode-megabytes 63 is out of range; it is at least 64 and at most 1,048,576"),
    ({"components": 0}, "--components 0 is out of range; it is at least 1"),
    ({"variance": 0}, "--variance 0 is out of range; it is above 0 and at most 1"),
    ({"variance": 1.01}, "--variance 1.01 is out of range; it is above 0 and at most 1"),
    ({"variance": math.nan}, "--variance nan is out of range; it is above 0 and at most 1"),
    ({"components": 3, "variance": 0.5}, "--components and --variance contradict each other: give one of them"),
    ({"components": 3, "pca_model": "x"}, "--components and --pca-model contradict each other: give one of them"),
    ({"variance": 0.5, "pca_model": "x"}, "--variance and --pca-model contradict each other: give one of them"),
]


@pytest.mark.parametrize("options", ALLOWED, ids=str)
def test_values_at_the_edge_of_their_range_are_taken(options: dict[str, Any]) -> None:
    assert {name: getattr(Settings(**options), name) for name in options} == options


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=str)
def test_values_out_of_range_are_refused_in_the_words_of_the_command_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError) as caught:
        Settings(**options)
    assert str(caught.value) == words
    assert caught.value.exit_status == 2


def test_the_bound_of_pixels_is_the_one_at_which_pillow_itself_refuses() -> None:
    assert Image.MAX_IMAGE_PIXELS
    assert DEFAULT_MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_the_memory_that_decoding_may_take_follows_the_bound_of_pixels_unless_it_is_given() -> None:
    # 16 bytes a pixel: what a WebP of as many pixels as are allowed takes, of which the decoder holds four copies.
    assert Settings(max_pixels=50_000_000).decode_bytes == 16 * 50_000_000 + (512 << 20)
    assert Settings(max_pixels=50_000_000, decode_megabytes=100).decode_bytes == 100 << 20


@pytest.mark.parametrize(
    ("include", "endings"),
    [("jpg,PNG", (".jpg", ".png")), (" .JPG , tar.gz ,,", (".jpg", ".tar.gz")), ("", ())],
)
def test_endings_are_lower_case_with_one_dot(include: str, endings: tuple[str, ...]) -> None:
    assert Settings(include=include).endings == endings


def test_the_default_endings_are_those_of_the_formats_that_are_decoded() -> None:
    expected = "jpg jpeg png webp gif bmp tif tiff pbm pgm ppm pnm avif heic heif"
    assert Settings().endings == tuple(f".{ending}" for ending in expected.split())


def parsed(arguments: str, *stages: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, options_of(Settings, *stages))
    return vars(parser.parse_args(arguments.split()))


def test_every_option_can_be_said_on_the_command_line_and_makes_the_same_settings() -> None:
    said = (
        "--output o --images i --model m --include jpg --limit 3 --mode exact --max-pixels 9 --wave-seconds 2.5"
        " --decode-seconds 9 --decode-megabytes 99 --retry-rejected"
        " --variance 0.5 --no-csv --dry-run --master local[1] --ui --verbose"
    )
    expected = Settings(
        output="o", images="i", model="m", include="jpg", limit=3, mode="exact", max_pixels=9, wave_seconds=2.5,
        decode_seconds=9, decode_megabytes=99, retry_rejected=True,
        variance=0.5, csv=False, dry_run=True, master="local[1]", ui=True, verbose=True,
    )  # fmt: skip
    assert Settings(**parsed(said, FEATURIZE, REDUCE, PRUNE)) == expected
    other = parsed("--output o --images i --model m --components 7 --csv", FEATURIZE, REDUCE)
    assert other["csv"] is True
    assert (other["components"], type(other["components"])) == (7, int)
    assert parsed("--output o --pca-model p", REDUCE)["pca_model"] == "p"


def test_what_is_not_said_has_the_default_of_the_dataclass() -> None:
    found = parsed("--output o --images i --model m", FEATURIZE, REDUCE, PRUNE)
    assert Settings(**found) == Settings(output="o", images="i", model="m")
    assert set(found) == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        ("", (REDUCE,)),
        ("--output o --model m", (FEATURIZE,)),
        ("--output o --images i", (FEATURIZE,)),
        ("--output o --images i", (REDUCE,)),
        ("--output o --components 3", (FEATURIZE,)),
        ("--output o --components many", (REDUCE,)),
        ("--output o --mode quick --images i --model m", (FEATURIZE,)),
    ],
)
def test_options_that_are_missing_foreign_or_of_another_kind_are_refused(
    arguments: str, stages: tuple[str, ...]
) -> None:
    with pytest.raises((SystemExit, argparse.ArgumentError)) as caught:
        parsed(arguments, *stages)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 2


def test_help_tells_each_default_once() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, options_of(Settings, FEATURIZE, REDUCE))
    text = " ".join(parser.format_help().split())
    for flag, default in (
        ("--wave-seconds X", "180.0"),
        ("--max-pixels N", "178956970"),
        ("--mode {fast,exact}", "fast"),
    ):
        help_text = text.split(flag)[-1].split(" --")[0]
        assert help_text.count(f"(default: {default})") == 1
    assert "--no-report" in text
    assert "--report" not in text
    assert "--csv, --no-csv " in text
    assert "--dry-run" not in text


def test_settings_are_ready_for_json() -> None:
    restored = json.loads(json.dumps(Settings(images="Äpfel", components=3).as_dict()))
    assert restored["images"] == "Äpfel"
    assert restored["components"] == 3
    assert restored["variance"] is None
    assert set(restored) == {field.name for field in fields(Settings)}

"""What a run can be told: one frozen dataclass; the command line is made from its fields. No Spark, no Pillow."""

import argparse
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from job.errors import JobError

DEFAULT_COMPONENTS = 50
DEFAULT_INCLUDE = "jpg,jpeg,png,webp,gif,bmp,tif,tiff,pbm,pgm,ppm,pnm,avif,heic,heif"
# Twice the size at which Pillow warns: the bound at which it raises.
DEFAULT_MAX_PIXELS = 2 * 89_478_485
MODES = ("fast", "exact")
# What the hungriest decoder takes, WebP's: its own picture twice, a copy to hand over, and Pillow's; 4 bytes each.
DECODE_BYTES_A_PIXEL = 16
DECODE_SPARE_MEGABYTES = 512

FEATURIZE = "featurize"
REDUCE = "reduce"
PRUNE = "prune"
CHECK = "check"
REPORT = "report"
EVERY = (FEATURIZE, REDUCE, REPORT, PRUNE, CHECK)


def _option(default: Any, text: str, *stages: str, **more: Any) -> Any:
    """Return a field that says for which stages it is, and what `--help` tells of it."""
    return field(default=default, metadata={"help": text, "stages": stages, **more})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the job. Which stages use a field, its unit, range and default stand with it."""

    output: str = _option("", "folder or s3:// prefix for all that is written", *EVERY, metavar="DIR")
    images: str = _option(
        "",
        "folder or s3:// prefix of pictures, read recursively, the label being the parent folder's name; or a CSV or"
        " Parquet manifest with the columns path[,label]",
        FEATURIZE,
        metavar="DIR",
    )
    model: str = _option("", "model folder made by python -m bootstrap.model, or its .zip", FEATURIZE, metavar="DIR")
    include: str = _option(
        DEFAULT_INCLUDE, "endings of the files to look at, separated by commas; case is ignored", FEATURIZE
    )
    limit: int | None = _option(None, "take only the first N images found, to try things out", FEATURIZE, low=1)
    mode: str = _option(
        "fast",
        "fast shrinks large JPEGs while loading them, to at least 3 times the side needed; exact decodes them in full",
        FEATURIZE,
        choices=MODES,
    )
    max_pixels: int = _option(
        DEFAULT_MAX_PIXELS,
        "reject images with more pixels than this; Pillow itself refuses more than the default",
        FEATURIZE,
        low=1,
        high=DEFAULT_MAX_PIXELS,
    )
    decode_seconds: float = _option(
        60.0,
        "reject an image that takes longer to decode than this; one that hangs costs the run twice that",
        FEATURIZE,
        low=1,
        high=3600,
    )
    decode_megabytes: int | None = _option(
        None,
        "reject an image that takes more memory to decode than this, of any size; by default"
        f" {DECODE_BYTES_A_PIXEL} bytes for each of --max-pixels and {DECODE_SPARE_MEGABYTES} MB to spare",
        FEATURIZE,
        low=64,
        high=1 << 20,
    )
    retry_rejected: bool = _option(
        False,
        "try images again that an earlier run has rejected; else only when they or the settings change",
        FEATURIZE,
    )
    wave_seconds: float = _option(
        180.0,
        "work that is committed at a time, in seconds: what a killed run loses at most",
        FEATURIZE,
        low=1,
        high=3600,
    )
    components: int | None = _option(
        None,
        f"principal components to keep; {DEFAULT_COMPONENTS} where --variance is not given either",
        REDUCE,
        low=1,
    )
    variance: float | None = _option(
        None,
        "keep the fewest components that hold this share of the variance, above 0 and at most 1",
        REDUCE,
        above=0,
        high=1,
    )
    pca_model: str | None = _option(
        None,
        "project on this basis instead of fitting one, so that coordinates stay comparable: a pca_model/run=… folder,"
        " or the --output of an earlier run",
        REDUCE,
        metavar="DIR",
    )
    csv: bool = _option(True, "do not write pca_matrix.csv (for millions of images)", REDUCE)
    report: bool = _option(True, "do not make report.html, which looks at up to 5,000 pictures again", REDUCE)
    dry_run: bool = _option(False, "say what would be deleted, delete nothing", PRUNE)
    master: str | None = _option(None, "Spark master; by default every core of this machine", *EVERY, metavar="URL")
    ui: bool = _option(False, "serve Spark's own web page while the run lasts", *EVERY)
    verbose: bool = _option(False, "show on the terminal what Spark and its workers write to the log", *EVERY)

    def __post_init__(self) -> None:
        """Refuse values out of range and options that contradict each other, in the words of the command line."""
        for option in fields(self):
            _check(option.name, getattr(self, option.name), option.metadata)
        chosen = [_flag(name) for name in ("components", "variance", "pca_model") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise JobError(f"{' and '.join(chosen)} contradict each other: give one of them")

    @property
    def endings(self) -> tuple[str, ...]:
        """Return the endings to look at, in lower case with a dot: `(".jpg", …)`."""
        return tuple(f".{ending.strip().strip('.').lower()}" for ending in self.include.split(",") if ending.strip())

    @property
    def decode_bytes(self) -> int:
        """Return the memory that decoding one image may take, in bytes."""
        if self.decode_megabytes is not None:
            return self.decode_megabytes << 20
        return DECODE_BYTES_A_PIXEL * self.max_pixels + (DECODE_SPARE_MEGABYTES << 20)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values, for `run.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Settings":
        """Read what `as_dict` returned; names of other versions are ignored, missing ones have their default."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check(name: str, value: object, rules: Any) -> None:
    if isinstance(value, str) and "choices" in rules and value not in rules["choices"]:
        raise JobError(f"{_flag(name)} {value} is unknown; it is one of {', '.join(rules['choices'])}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, above, high = rules.get("low"), rules.get("above"), rules.get("high")
    # Written so that NaN fails every comparison and is refused.
    if (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high):
        return
    bounds = [f"at least {low}"] if low is not None else [f"above {above}"] if above is not None else []
    bounds += [f"at most {high:,}"] if high is not None else []
    raise JobError(f"{_flag(name)} {value} is out of range; it is {' and '.join(bounds)}")


def add_options(parser: argparse.ArgumentParser, stages: tuple[str, ...]) -> None:
    """Give a command the options of its stages, each once."""
    for option in fields(Settings):
        rules = option.metadata
        if not set(stages) & set(rules["stages"]):
            continue
        if option.type is bool:
            flag = _flag(f"no_{option.name}" if option.default else option.name)
            action = "store_false" if option.default else "store_true"
            parser.add_argument(flag, dest=option.name, action=action, help=rules["help"])
            continue
        kinds = [kind for kind in get_args(option.type) if kind is not type(None)] or [option.type]
        parser.add_argument(
            _flag(option.name),
            dest=option.name,
            type=kinds[0],
            default=option.default,
            required=option.default == "",
            choices=rules.get("choices"),
            metavar=None if "choices" in rules else rules.get("metavar", {int: "N", float: "X"}.get(kinds[0])),
            help=rules["help"] + ("" if option.default in (None, "") else " (default: %(default)s)"),
        )

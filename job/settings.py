"""The options of the job: one frozen dataclass, from which the command lines are made. No Spark, no Pillow."""

from dataclasses import asdict, dataclass
from typing import Any

from job.errors import JobError
from job.options import COMMAND_LINE, check, option

DEFAULT_COMPONENTS = 50
DEFAULT_INCLUDE = "jpg,jpeg,png,webp,gif,bmp,tif,tiff,pbm,pgm,ppm,pnm,avif,heic,heif"
# Twice the size at which Pillow warns: the bound at which it raises.
DEFAULT_MAX_PIXELS = 2 * 89_478_485
MODES = ("fast", "exact")
# The hungriest decoder, WebP's, holds its own image twice, a copy to hand over, and Pillow's: 4 bytes a pixel each.
DECODE_BYTES_A_PIXEL = 16
DECODE_SPARE_MEGABYTES = 512

FEATURIZE = "featurize"
REDUCE = "reduce"
PRUNE = "prune"
CHECK = "check"
REPORT = "report"
EVERY = (FEATURIZE, REDUCE, REPORT, PRUNE, CHECK)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the job. Which stages use a field, its unit, range and default stand with it."""

    output: str = option("", "folder or s3:// prefix for all results", *EVERY, metavar="DIR", required=True)
    images: str = option(
        "",
        "folder or s3:// prefix of the images, read recursively; the parent folder's name is the label. Or a CSV or"
        " Parquet manifest with the columns path[,label]",
        FEATURIZE,
        metavar="DIR",
        required=True,
    )
    model: str = option("", "model folder made by fruits model, or its .zip", FEATURIZE, metavar="DIR", required=True)
    include: str = option(
        DEFAULT_INCLUDE, "file extensions to read, separated by commas, in upper or lower case", FEATURIZE
    )
    limit: int | None = option(None, "read only the first N images found, for a trial", FEATURIZE, low=1)
    mode: str = option(
        "fast",
        "fast shrinks large JPEGs while it loads them, to at least 3 times the input of the model; exact decodes them"
        " in full",
        FEATURIZE,
        choices=MODES,
    )
    max_pixels: int = option(
        DEFAULT_MAX_PIXELS,
        "reject images with more pixels than this; Pillow refuses more than the default",
        FEATURIZE,
        low=1,
        high=DEFAULT_MAX_PIXELS,
    )
    decode_seconds: float = option(
        60.0,
        "reject an image that takes more seconds than this to decode; one that hangs costs the run twice this time",
        FEATURIZE,
        unit="seconds",
        low=1,
        high=3600,
    )
    decode_megabytes: int | None = option(
        None,
        "reject an image that needs more megabytes of memory than this to decode; without it the limit is"
        f" {DECODE_BYTES_A_PIXEL} bytes for each of --max-pixels plus {DECODE_SPARE_MEGABYTES} MB",
        FEATURIZE,
        unit="MB",
        low=64,
        high=1 << 20,
    )
    retry_rejected: bool = option(
        False,
        "retry every image that an earlier run rejected; without it, only if the image or the settings have changed",
        FEATURIZE,
    )
    wave_seconds: float = option(
        180.0,
        "seconds between two commits: a killed run loses at most this much work",
        FEATURIZE,
        unit="seconds",
        low=1,
        high=3600,
    )
    components: int | None = option(
        None,
        f"number of principal components to keep; {DEFAULT_COMPONENTS} unless --variance is given",
        REDUCE,
        low=1,
    )
    variance: float | None = option(
        None,
        "keep the fewest components that explain this share of the variance, above 0 and at most 1",
        REDUCE,
        above=0,
        high=1,
    )
    pca_model: str | None = option(
        None,
        "project on this basis instead of fitting one, so that coordinates stay comparable: a pca_model/run=… folder,"
        " or the --output of an earlier run",
        REDUCE,
        metavar="DIR",
    )
    csv: bool | None = option(
        None, "write pca_matrix.csv; without --csv or --no-csv, only for at most 1,000,000 images", REDUCE
    )
    report: bool = option(True, "do not make report.html, which reads up to 5,000 images again", REDUCE)
    dry_run: bool = option(False, "show what would be deleted, and delete nothing", PRUNE)
    master: str | None = option(
        None, "address of the Spark master; without it Spark uses all cores of this machine", *EVERY, metavar="URL"
    )
    ui: bool = option(False, "serve Spark's web UI while the run lasts", *EVERY)
    verbose: bool = option(False, "show the log of Spark and its workers on the terminal as well", *EVERY)

    def __post_init__(self) -> None:
        """Refuse values out of range and options that contradict each other, in the words of the command line."""
        check(self)
        chosen = [
            COMMAND_LINE.name(name)
            for name in ("components", "variance", "pca_model")
            if getattr(self, name) is not None
        ]
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

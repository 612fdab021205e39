"""A run that merges its features files however few they are: python -m tests.compaction IMAGES OUTPUT."""

import sys
import tempfile
from pathlib import Path

from job.command_line import Log
from job.settings import Settings
from job.spark.session import local_session
from job.stages.featurize import featurize

ROOT = Path(__file__).resolve().parents[1]


def main(images: str, output: str) -> None:
    """Bring the features up to date with the embedded model, and merge files where there are more than one."""
    settings = Settings(images=images, model=str(ROOT / "bootstrap" / "embedded"), output=output)
    with tempfile.TemporaryDirectory() as folder, local_session(settings, Log(Path(folder, "log"))) as spark:
        featurize(spark, settings, small_files=1)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The package that runs, as a zip that the workers of a session import."""

import atexit
import hashlib
import io
import shutil
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from job.compat import is_stopped, shipped_zips
from job.errors import JobError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def check_session(spark: object) -> None:
    """Refuse a session that the job cannot work with.

    Raises
    ------
    JobError
        For Spark Connect, a stopped session, a Spark other than 4, a server unlike the installed pyspark.
    """
    import pyspark  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if not isinstance(spark, SparkSession):
        kind = f"{type(spark).__module__}.{type(spark).__name__}"
        word = "Spark Connect sessions have no workers to ship code to" if "connect" in kind else f"this is a {kind}"
        raise JobError(f"a classic SparkSession is needed; {word}")
    if is_stopped(spark.sparkContext):
        raise JobError("the Spark session was stopped; make a new one")
    if spark.version.split(".")[:2] != pyspark.__version__.split(".")[:2] or not spark.version.startswith("4."):
        raise JobError(
            f"the session runs Spark {spark.version} with pyspark {pyspark.__version__}; the job needs Spark 4 and a"
            " pyspark of the same version"
        )


def ship(spark: "SparkSession") -> None:
    """Have the session's workers find this package, whatever folder the driver runs in.

    Nothing else in the session changes. The zip stays on the context's list of files, from which Spark removes nothing;
    its name is a digest of its content, so that it is added once.

    Raises
    ------
    JobError
        For a session that the job cannot work with.
    """
    check_session(spark)
    archive = _archive()
    if archive.name in shipped_zips(spark.sparkContext):
        return
    path = list(sys.path)
    spark.sparkContext.addPyFile(str(archive))
    sys.path[:] = path  # addPyFile puts the zip before the package that is running


@cache
def _archive() -> Path:
    """Return a zip of this package: the one it was loaded from, or a new one named by its content."""
    package = Path(__file__).parents[1]
    if package.parent.is_file():
        return package.parent
    content = zip_package(package)
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder = Path(tempfile.mkdtemp(prefix="fruits-"))
    # Executors that join later fetch it from here, so it stays until this process ends.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"job-{digest}.zip"
    path.write_bytes(content)
    return path


def zip_package(folder: Path) -> bytes:
    """Return a zip of a package; the same files give the same bytes, whatever their dates and permissions."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # stored: another zlib would give other bytes
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder.parent)
            if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
                info = zipfile.ZipInfo(name.as_posix(), (2020, 1, 1, 0, 0, 0))
                info.create_system, info.external_attr = 3, 0o644 << 16  # Unix
                archive.writestr(info, path.read_bytes())
    return content.getvalue()

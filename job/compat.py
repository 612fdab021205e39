"""Patches of libraries and looks inside them, all in one place.

Each function names the version it was written for, and why. tests/job/test_compat.py fails with a sentence once a
library has changed so that a patch is no longer needed. Importing this module loads no library.
"""

import sys
from typing import TYPE_CHECKING, Any
from zipimport import zipimporter

if TYPE_CHECKING:
    from pyspark import SparkContext


def free_webp_decoder(image: Any) -> None:
    """Have a WebP's decoder freed as soon as it has handed over the first frame.

    Written for Pillow 12 and 13. Pillow keeps the decoder, which holds a second copy of the image, for further frames.
    """
    next_frame = getattr(image, "_get_next", None)
    if image.format != "WEBP" or next_frame is None:
        return

    def only_frame() -> Any:
        del image._get_next  # or image and function would hold each other
        frame = next_frame()
        image._decoder = None
        return frame

    image._get_next = only_frame


def decode_avif_in_one_thread() -> None:
    """Have AVIF decoded by one thread: a task has one core, and threads would only take memory.

    Written for Pillow 12 and 13, which start a thread for each core and take the number from this variable alone.
    """
    from PIL import AvifImagePlugin  # noqa: PLC0415

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


# Ends of the names of the zips that hold PySpark and Py4J themselves.
SPARK_ZIPS = ("/pyspark.zip", "-src.zip")


def keep_spark_zips_read() -> None:
    """Have later tasks of this worker reuse what it has read of the contents of Spark's own zips.

    Written for Python 3.11 and Spark 4.1. Spark's worker invalidates the import caches at the start of each task, and
    zipimport then reads the contents of every zip on the path again, in Python: 0.2 s. Spark's own do not change.
    """
    for finder in sys.path_importer_cache.values():
        if isinstance(finder, zipimporter) and finder.archive.endswith(SPARK_ZIPS):
            finder.invalidate_caches = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    pass


def forget_jvm() -> None:
    """Have the next SparkContext of this process start a JVM of its own.

    Written for PySpark 4.1, which keeps the gateway to its first JVM for good, even when that JVM has ended.
    """
    from pyspark import SparkContext  # noqa: PLC0415

    SparkContext._gateway = SparkContext._jvm = None


def is_stopped(context: "SparkContext") -> bool:
    """Return whether a SparkContext was stopped; PySpark 4.1 has no public name for it."""
    return context._jsc is None


def shipped_zips(context: "SparkContext") -> list[str]:
    """Return the names of the files that `addPyFile` has added; PySpark 4.1 has no public name for them."""
    return context._python_includes or []

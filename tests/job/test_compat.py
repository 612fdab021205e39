"""Each patch of a library: it does what it says, and the library still behaves so that it is needed."""

import importlib
import inspect
import io
import subprocess
import sys
import zipfile
import zipimport
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pyspark import SparkContext, worker_util

from job.compat import SPARK_ZIPS, forget_jvm, free_webp_decoder, is_stopped, keep_spark_zips_read, shipped_zips


def webp() -> Any:
    encoded = io.BytesIO()
    Image.new("RGB", (64, 48), (10, 200, 30)).save(encoded, "WEBP", lossless=True)
    return Image.open(io.BytesIO(encoded.getvalue()))


def test_a_webps_decoder_is_freed_once_it_has_handed_over_the_first_frame() -> None:
    image, plain = webp(), webp()
    free_webp_decoder(image)
    assert image.load() is not None
    assert image._decoder is None
    assert image.tobytes() == plain.tobytes()
    assert plain._decoder is not None, "Pillow frees a WebP's decoder by itself: compat.free_webp_decoder can go"


def test_images_of_other_formats_are_left_alone() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8)).save(encoded, "PNG")
    image = Image.open(io.BytesIO(encoded.getvalue()))
    before = dict(vars(image))
    free_webp_decoder(image)
    assert vars(image) == before


def test_avif_is_decoded_by_one_thread() -> None:
    program = (
        "from PIL import AvifImagePlugin as avif\n"
        "from job.compat import decode_avif_in_one_thread\n"
        "print(avif.DEFAULT_MAX_THREADS)\n"  # 0: a thread for each core
        "decode_avif_in_one_thread()\n"
        "print(avif._get_default_max_threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after == 1
    assert before != 1, "Pillow decodes AVIF in one thread by itself: compat.decode_avif_in_one_thread can go"


def importer(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> zipimport.zipimporter:
    """Return the importer of a new zip, which the interpreter knows as it knows those on its path."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("module.py", "")
    finder = zipimport.zipimporter(str(folder / name))
    monkeypatch.setitem(sys.path_importer_cache, str(folder / name), finder)
    return finder


def is_read_again(finder: zipimport.zipimporter) -> bool:
    """Return whether invalidating the import caches has the contents of a zip read again."""
    known: dict[str, Any] = zipimport._zip_directory_cache  # type: ignore[attr-defined]
    before = known[finder.archive]
    importlib.invalidate_caches()
    return known.get(finder.archive) is not before


def test_sparks_own_zips_are_read_once_and_others_whenever_caches_are_invalidated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark, py4j, ours = (importer(tmp_path, name, monkeypatch) for name in ("pyspark.zip", "py4j-src.zip", "job.zip"))
    assert all(any(finder.archive.endswith(end) for end in SPARK_ZIPS) for finder in (spark, py4j))
    assert is_read_again(spark), "zipimport reads no zip again on its own: compat.keep_spark_zips_read can go"
    keep_spark_zips_read()
    assert not is_read_again(spark)
    assert not is_read_again(py4j)
    assert is_read_again(ours)


def test_sparks_worker_invalidates_the_import_caches_for_each_task() -> None:
    source = inspect.getsource(worker_util)
    assert "importlib.invalidate_caches()" in source, (
        "Spark's worker no longer invalidates the import caches: compat.keep_spark_zips_read can go"
    )


def test_the_next_context_starts_a_jvm_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        jvm = "of a process that has ended"

    for name in ("_gateway", "_jvm"):
        monkeypatch.setattr(SparkContext, name, None)
    SparkContext._ensure_initialized(gateway=Ended())
    SparkContext._ensure_initialized()
    assert isinstance(SparkContext._gateway, Ended), "PySpark replaces an ended gateway: compat.forget_jvm can go"
    forget_jvm()
    assert SparkContext._gateway is None
    assert SparkContext._jvm is None


@pytest.mark.parametrize("public", ["isStopped", "is_stopped", "pyFiles", "listPyFiles"])
def test_pyspark_has_no_public_name_for_what_is_looked_up_inside(public: str) -> None:
    assert not hasattr(SparkContext, public), f"use SparkContext.{public} in job/compat.py"


def test_a_context_says_whether_it_was_stopped_and_what_it_ships() -> None:
    context = SparkContext.__new__(SparkContext)
    context._jsc, context._python_includes = object(), ["job.zip"]
    assert not is_stopped(context)
    assert shipped_zips(context) == ["job.zip"]
    context._jsc, context._python_includes = None, None
    assert is_stopped(context)
    assert shipped_zips(context) == []

"""Spark stage: listing minus store -> features. Each image is fetched, decoded and inferred once, in the workers."""

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.features.diff import subtract
from job.features.extractor import FeatureExtractor
from job.features.layout import model_folder, new_run, remove_runs, wave_name, work_folder
from job.features.model import DESCRIPTION, TFLITE, Model, decode_options, fingerprint, model_summary, read_model
from job.features.snapshot import Counts, RowMask, Snapshot, write_snapshot
from job.features.table import BATCH_ROWS, OK, REJECTED, SCHEMA, features_writer
from job.features.wave import DataFile, commit, committed, drop_damaged, drop_uncommitted
from job.images.color_histogram import color_histogram
from job.images.decode import Rejected
from job.images.fetch import check_readable, prefetch, refusal
from job.images.listing import ListedImage, ListingPart, check_images, list_images
from job.images.sandbox import DecodeOptions, Decoder
from job.progress import Progress
from job.settings import Settings
from job.spark.capacity import parallelism, retries
from job.spark.shipping import ship
from job.spark.tasks import first_attempt, run_tasks
from job.storage.lock import check_held, locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What the first wave is planned for, images a second a core; later waves go by what was measured.
FIRST_RATE = 100
FIRST_WAVE_SECONDS = 10
# Short tasks at first, so that progress is seen early; progress is known when a task is done.
FIRST_TASK_SECONDS = 5
TASK_SECONDS = 15
WAVE_GROWTH = 3
# So many are tried at most for one that can be read, before any work.
PROBED_IMAGES = 10


def featurize(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> Snapshot:
    """Bring the features table of an output up to date with a folder, prefix or manifest of images.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `images`, `model` and `output` are needed.
    progress : Progress, optional
        Where to say how far it is; silent by default.

    Returns
    -------
    Snapshot
        What is current now: counts, labels, seconds a stage, and the selected rows (see `read_features`).

    Raises
    ------
    JobError
        For what was given and cannot be used, before anything is inferred.
    RunError
        When the run could not be finished; what was committed stays, and the next run goes on from there.
    """
    model = check(settings)
    ship(spark)
    progress = progress or Progress()
    with locked(settings.output, progress):
        return _featurize(spark, settings, model, progress)


def _featurize(spark: "SparkSession", settings: Settings, model: Model, progress: Progress) -> Snapshot:
    output, run, seconds = storage.absolute(settings.output), new_run(), {}
    model_print = fingerprint(model, settings)
    work = work_folder(output, run)

    started = time.monotonic()
    drop_uncommitted(output)
    for name in drop_damaged(output, model_print):
        progress.say(f"{name} is not the file that was committed: its images are inferred again")
    _keep_model(output, model_print, model)
    listing = list_images(spark, settings, storage.join(work, "listing"))
    seconds["list"] = time.monotonic() - started

    started = time.monotonic()
    stored, retry = committed(output, model_print), settings.retry_rejected
    difference = subtract(spark, output, listing, stored, f"work/run={run}", retry_rejected=retry)
    seconds["subtract"] = time.monotonic() - started

    reused, new = difference.reused.total(), difference.todo.rows
    progress.say(f"{listing.rows:,} images listed, {reused:,} of them known, {new:,} new")
    started = time.monotonic()
    way = decode_options(model, settings)
    plan = _Plan(output, run, model_print, way, isolated=not retries(spark))
    files, statuses = _infer_waves(spark, plan, difference.todo.parts, settings.wave_seconds, progress)
    seconds["featurize"] = time.monotonic() - started

    statuses += difference.reused
    snapshot = Snapshot(
        run=run,
        fingerprint=model_print,
        model=model_summary(model),
        settings=settings.as_dict(),
        counts=Counts(listed=listing.rows, reused=reused, new=new, ok=statuses[OK], rejected=statuses[REJECTED]),
        labels=dict(sorted(listing.labels.items())),
        seconds=seconds,
        images_per_second=new / seconds["featurize"] if new else 0.0,
        row_masks=(*difference.row_masks, *map(RowMask.whole, files)),
    )
    if statuses.total() != listing.rows:
        raise AssertionError(f"{listing.rows} images were listed and {statuses.total()} accounted for")
    check_held(output)
    write_snapshot(output, snapshot)
    remove_runs(output, "work", keep=run)
    for name in ("listing", "todo"):
        storage.remove(storage.join(work, name))
    return snapshot


def check(settings: Settings) -> Model:
    """Refuse, without Spark, what this stage cannot work with, and return the model; raises `JobError`."""
    for name in ("images", "model", "output"):
        if not getattr(settings, name):
            raise JobError(f"--{name} is needed")
    check_images(settings.images)
    model = read_model(storage.absolute(settings.model))
    check_output(settings.output)
    return model


def check_output(address: str) -> None:
    """Refuse an output that cannot be written to; raises `JobError`."""
    output = storage.absolute(address)
    if storage.text(output) != output:
        raise JobError(f"the name of the output {storage.text(output)} is not UTF-8; use another --output")
    probe = storage.join(output, f".probe-{secrets.token_hex(4)}")
    try:
        storage.write(probe, b"")
        storage.remove(probe)
    except OSError as error:
        raise JobError(f"cannot write to {output}: {error.strerror or error}") from None


def _keep_model(output: str, fingerprint: str, model: Model) -> None:
    """Keep the model beside the features it makes, where the workers read it."""
    folder = model_folder(output, fingerprint)
    storage.write(storage.join(folder, TFLITE), model.tflite)
    storage.write(storage.join(folder, DESCRIPTION), model.json)


@dataclass(frozen=True)
class _Plan:
    """What every task of a run needs to know."""

    output: str
    run: str
    fingerprint: str
    way: DecodeOptions
    # Whether the first attempt decodes in a child process as well: where there is no second.
    isolated: bool


@dataclass(frozen=True)
class _Slice:
    """Rows `start` to `stop` of a part of the listing."""

    part: str
    start: int
    stop: int


@dataclass(frozen=True)
class _Task:
    """What one task infers, and the address, below the output, of the features file that it writes."""

    plan: _Plan
    slices: list[_Slice]
    target: str

    @property
    def rows(self) -> int:
        return sum(item.stop - item.start for item in self.slices)


def _infer_waves(
    spark: "SparkSession", plan: _Plan, parts: list[ListingPart], wave_seconds: float, progress: Progress
) -> tuple[list[DataFile], Counter[str]]:
    """Infer all rows of the parts, wave by wave, each committed when its tasks are done."""
    cores, left, finished = parallelism(spark), sum(part.rows for part in parts), 0
    rate, seconds, task_seconds = float(FIRST_RATE * cores), min(FIRST_WAVE_SECONDS, wave_seconds), FIRST_TASK_SECONDS
    files: list[DataFile] = []
    statuses: Counter[str] = Counter()
    slices, number = deque(_Slice(part.address, 0, part.rows) for part in parts), 0
    if parts:
        check_readable(_images([_Slice(parts[0].address, 0, PROBED_IMAGES)]), plan.way.memory_bytes)
    with progress.counting("features", left) as update:
        while left:
            rows = max(cores, int(rate * seconds))
            # A last wave that would be small is done with the one before.
            rows = left if left < 1.3 * rows else rows
            wave = wave_name(plan.fingerprint, plan.run, number)
            tasks = [
                _Task(plan, _take(slices, share), f"{wave}/part-{index:05d}")
                for index, share in enumerate(_shares(rows, cores, rate, min(task_seconds, wave_seconds)))
            ]
            started = time.monotonic()
            results = run_tasks(spark, _infer_or_refusal, tasks, _beyond(finished, update), _rows)
            done = [result for result in results if not isinstance(result, PermissionError)]
            took = max(time.monotonic() - started, 1e-3)
            check_held(plan.output)
            if done:
                commit(plan.output, wave, [file for file, _ in done])
            for result in results:
                if isinstance(result, PermissionError):
                    raise refusal(result)
            files += [file for file, _ in done]
            for _, counts in done:
                statuses += counts
            rate, seconds, task_seconds = rows / took, min(WAVE_GROWTH * max(took, 1), wave_seconds), TASK_SECONDS
            left, finished, number = left - rows, finished + rows, number + 1
    return files, statuses


def _beyond(finished: int, update: Callable[[int], None]) -> Callable[[int], None]:
    """Return what reports the images of one wave as those of the whole run."""
    return lambda done: update(finished + done)


def _rows(task: _Task) -> int:
    return task.rows


def _shares(rows: int, cores: int, rate: float, task_seconds: float) -> list[int]:
    """Return how many rows each task of a wave gets: equal shares, as many for each core."""
    tasks = max(1, round(rows / (rate / cores * task_seconds)))
    tasks = -(-tasks // cores) * cores
    tasks = min(tasks, max(1, rows // 8))  # a handful of images is not worth another worker
    return [rows * (index + 1) // tasks - rows * index // tasks for index in range(tasks)]


def _take(slices: deque[_Slice], rows: int) -> list[_Slice]:
    """Take so many rows off the front of the slices."""
    taken = []
    while rows:
        first = slices.popleft()
        cut = min(first.stop, first.start + rows)
        taken.append(_Slice(first.part, first.start, cut))
        if cut < first.stop:
            slices.appendleft(_Slice(first.part, cut, first.stop))
        rows -= cut - first.start
    return taken


def _infer_or_refusal(task: _Task) -> tuple[DataFile, Counter[str]] | PermissionError:
    """Infer one task's images; a refusal is returned, not raised: Spark would do the work three more times for it."""
    try:
        return _infer(task)
    except PermissionError as error:
        return PermissionError(error.errno, error.strerror or str(error), error.filename)


def _infer(task: _Task) -> tuple[DataFile, Counter[str]]:
    """Infer one task's images, in a worker: write its features file, return it and the counts by status."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool keeps 40 MB more, and here saves no time
    extractor = _extractor(model_folder(task.plan.output, task.plan.fingerprint))
    # No attempt writes over another's file: only the one that the driver hears of counts.
    name = f"{task.target}-{secrets.token_hex(4)}.parquet"
    address = storage.join(task.plan.output, name)
    statuses: Counter[str] = Counter()
    isolated = task.plan.isolated or not first_attempt()
    with Decoder(task.plan.way, isolated=isolated) as decoder, storage.create(address) as path:
        with features_writer(path) as writer:
            rows: list[dict[str, Any]] = []
            for image, data in prefetch(_images(task.slices), task.plan.way.memory_bytes):
                row = _row(image, data, decoder, extractor) | {"run": task.plan.run}
                statuses[row["status"]] += 1
                rows.append(row)
                if len(rows) == BATCH_ROWS:
                    writer.write_table(_table(rows))
                    rows = []
            if rows:
                writer.write_table(_table(rows))
        size = path.stat().st_size
    return DataFile(name, statuses.total(), size), statuses


@cache
def _extractor(folder: str) -> FeatureExtractor:
    """Load the model once a worker process, not once a task."""
    return FeatureExtractor(read_model(folder))


def _images(slices: list[_Slice]) -> Iterator[ListedImage]:
    for item in slices:
        with storage.open_input(item.part) as file:
            table = pq.read_table(file).slice(item.start, item.stop - item.start)
        table = table.set_column(3, "modified", table.column("modified").cast(pa.int64()))
        yield from (ListedImage(**row) for row in table.to_pylist())


def _row(image: ListedImage, data: bytes | Rejected, decoder: Decoder, extractor: FeatureExtractor) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": image.path,
        "label": image.label,
        "length": image.length,
        "modified": image.modified,
    }
    try:
        if isinstance(data, Rejected):
            raise data
        picture = decoder.decode(data)
    except Rejected as rejected:
        return row | {"status": REJECTED, "reason": rejected.reason, "error": rejected.error}
    vectors = {"features": extractor.extract(picture.pixels), "colours": color_histogram(picture.pixels)}
    return row | {"status": OK, "width": picture.width, "height": picture.height} | vectors


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    for name in ("features", "colours"):
        columns[name] = _lists(columns[name])
    return pa.table(columns, schema=SCHEMA)


def _lists(vectors: list[NDArray[np.float32] | None]) -> pa.ListArray:
    """Return vectors as Arrow takes them, without a look at each value: a sixtieth of the inference's time."""
    missing = [vector is None for vector in vectors]
    values = [np.empty(0, np.float32) if vector is None else vector for vector in vectors]
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    kind = SCHEMA.field("features").type
    return pa.ListArray.from_arrays(offsets, np.concatenate(values), type=kind, mask=pa.array(missing))

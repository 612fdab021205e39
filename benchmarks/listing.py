"""A million files listed, against Spark's own listing, and a million keys; memory: python -m benchmarks.listing.

Keys are listed in 100 folders, and in one folder of a bucket that answers late.
Each lister is a process of its own, with a session that is warm and a first pass behind it. Spark's listing is that of
its `binaryFile` source, which gives path, length and modification time and leaves the contents closed; it gets 8 GB of
heap, as it keeps every file on the driver, and few large partitions. The job has the session that it makes for itself.
"""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import inputs
from benchmarks.harness import Bench, bench, die, parser, timed, watched
from benchmarks.server import IMAGES, Contents, serving
from benchmarks.subprocess_session import plain_session
from job import storage
from job.command_line import Log
from job.images.source import list_images
from job.settings import Settings
from job.spark.session import local_session
from job.spark.shipping import ship

JOB, SPARK, LOADED = "job", "Spark, rows of them", "Spark, on the driver"
CONTENT = b"not empty"


def files(count: int, folder: Path) -> Path:
    """Return a folder with `count` tiny files in 100 folders, made once."""
    return inputs.made_once(folder / f"files-{count}", lambda root: inputs.write(root, count, [CONTENT])).resolve()


class Found(NamedTuple):
    """What a lister has found: files, and bytes in all."""

    files: int
    bytes: int


class Lister(NamedTuple):
    """A process that lists on request."""

    process: int
    connection: Connection

    def seconds(self, request: str) -> float:
        """Have it list once more; return what that took."""
        self.connection.send(request)
        seconds: float = self.connection.recv()
        return seconds

    def found(self) -> Found:
        """Return what its first pass has found."""
        found: Found = self.connection.recv()
        return found


@contextmanager
def lister(target: Callable[[Connection, str], None], address: str, expected: Found) -> Iterator[Lister]:
    """Yield a process that has listed an address once, and found what is there."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_answering, args=(target, there, address))
    process.start()
    there.close()
    try:
        made = Lister(process.pid or 0, here)
        if (found := made.found()) != expected:
            die(f"{target.__name__} lists {found} in {address}, where there are {expected}")
        yield made
        here.send(None)
    except EOFError:
        die(f"{target.__name__} has failed")
    finally:
        here.close()
        process.join()


def _answering(target: Callable[[Connection, str], None], connection: Connection, address: str) -> None:
    try:
        target(connection, address)
    except EOFError:
        return
    except BaseException:
        traceback.print_exc()
        raise


def by_job(connection: Connection, address: str) -> None:
    """List with the job's own function, Parquet parts and all, in the session that the job makes."""
    with tempfile.TemporaryDirectory() as folder, local_session(Settings(), Log(Path(folder, "log"))) as spark:
        ship(spark)
        parts = list_images(spark, Settings(images=address), f"{folder}/first").parts
        lengths = [pq.read_table(part.address, columns=["length"]).column(0) for part in parts]
        connection.send(Found(sum(part.rows for part in parts), sum(pc.sum(length).as_py() for length in lengths)))
        while connection.recv():
            connection.send(timed(lambda: list_images(spark, Settings(images=address), f"{folder}/again")))
            storage.remove(f"{folder}/again")


def by_spark(connection: Connection, address: str) -> None:
    """List with Spark's `binaryFile` source: rows that go nowhere, or no more than the driver's own list of files."""
    # Else a million files make 31,250 partitions.
    with plain_session("8g", {"spark.sql.files.openCostInBytes": "0"}) as spark:
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.jpg")
        [row] = reader.load(address).selectExpr("count(path)", "sum(length)", "max(modificationTime)").collect()
        connection.send(Found(row[0], row[1]))
        while request := connection.recv():
            if request == LOADED:
                connection.send(timed(lambda: reader.load(address)))
            else:
                connection.send(
                    timed(
                        lambda: (
                            reader.load(address)
                            .select("path", "length", "modificationTime")
                            .write.format("noop")
                            .mode("overwrite")
                            .save()
                        )
                    )
                )


def compare(found: Bench, folder: Path) -> None:
    """Compare the job's listing of a folder with Spark's."""
    count = found.options["files"]
    address = str(files(count, folder))
    expected = Found(count, count * len(CONTENT))
    with ExitStack() as stack:
        job, spark = (stack.enter_context(lister(target, address, expected)) for target in (by_job, by_spark))
        with watched(job.process) as ours, watched(spark.process) as theirs:
            medians = found.compare(
                f"{count:,} files in {inputs.FOLDERS} folders, a pass that is not the first",
                {
                    JOB: lambda: job.seconds(JOB),
                    SPARK: lambda: spark.seconds(SPARK),
                    LOADED: lambda: spark.seconds(LOADED),
                },
                found.options["rounds"],
                count,
            )
    found.claim("as fast as Spark's own listing", medians[SPARK] / medians[JOB], at_least=2.5)
    found.claim("as fast as Spark's driver alone, no row made", medians[LOADED] / medians[JOB])
    tenth = count // 10
    with (
        lister(by_job, str(files(tenth, folder)), Found(tenth, tenth * len(CONTENT))) as job,
        watched(job.process) as less,
    ):
        for _ in range(found.options["rounds"]):
            job.seconds(JOB)
    for kind in ("driver", "jvm", "worker"):
        sizes = f"{tenth:,} files {less.get(kind, 0):,.0f} MB, {count:,} files {ours.get(kind, 0):,.0f} MB"
        found.say(f"  {kind}: {sizes}; Spark's own {theirs.get(kind, 0):,.0f} MB")
    more = ours["driver"] + ours["jvm"] - less["driver"] - less["jvm"]
    found.claim(f"more on the driver, JVM included, for {count - tenth:,} files more", more, "MB", at_most=100)


def keys(found: Bench) -> None:
    """Time the job's listing of a bucket, and say what memory it takes."""
    count, rounds = found.options["keys"], found.options["rounds"]
    with serving(Contents(keys=count)) as server:
        before, expected = server.processor_seconds(), Found(count, count * len(inputs.jpeg(0, 100, 100)))
        with lister(by_job, f"s3://{IMAGES}", expected) as job, watched(job.process) as memory:
            found.compare(f"{count:,} keys in a bucket", {JOB: lambda: job.seconds(JOB)}, rounds, count)
        share = (server.processor_seconds() - before) / (rounds + 1)
    found.say(f"  {', '.join(f'{kind} {peak:,.0f} MB' for kind, peak in memory.items())}")
    found.say(f"  the server took {share:.1f} s of processor time a pass")


def flat(found: Bench) -> None:
    """Time the job's listing of one large folder in a bucket that answers late."""
    count, rounds, late = found.options["flat"], found.options["rounds"], found.options["latency"]
    with serving(Contents(flat=count), late / 1e3) as server:
        before, expected = server.processor_seconds(), Found(count, count * len(inputs.jpeg(0, 100, 100)))
        with lister(by_job, f"s3://{IMAGES}/camera", expected) as job, watched(job.process) as memory:
            title = f"{count:,} keys in one folder of a bucket that answers {late:g} ms late"
            found.compare(title, {JOB: lambda: job.seconds(JOB)}, rounds, count)
        share = (server.processor_seconds() - before) / (rounds + 1)
    found.say(f"  {', '.join(f'{kind} {peak:,.0f} MB' for kind, peak in memory.items())}")
    found.say(f"  the server took {share:.1f} s of processor time a pass")


def main() -> None:
    """Run the command."""
    command = parser("listing", __doc__)
    command.add_argument("--files", type=int, default=1_000_000, help="0 for none (default: %(default)s)")
    command.add_argument("--keys", type=int, default=1_000_000, help="0 for none (default: %(default)s)")
    command.add_argument("--flat", type=int, default=1_000_000, help="0 for none (default: %(default)s)")
    command.add_argument("--latency", type=float, default=25, help="milliseconds for --flat (default: %(default)s)")
    command.add_argument("--folder", type=Path, default=inputs.INPUTS, help="4 GB are needed (default: %(default)s)")
    options = command.parse_args()
    with bench("listing", options) as found:
        if options.files:
            compare(found, options.folder)
        if options.keys:
            keys(found)
        if options.flat:
            flat(found)


if __name__ == "__main__":
    main()

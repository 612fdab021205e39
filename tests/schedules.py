"""Two runs at once on S3: one is paused before one of its writes, another takes over, the first goes on.

    python -m tests.schedules --schedules 200

Each schedule draws what the two commands are (run, reduce, report, prune), whether there are results before, before
which of its writes the first command is paused (it does not beat meanwhile), and whether the second is paused in turn,
so that the first goes on in the middle of it. The server is moto, behind a relay that pauses requests and writes down
whose each is. After each schedule all that is named must be there, each image once; and no file that names others may
have been written under one lease after another run had taken it over. `--every` goes through every write instead.
"""

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from job import storage
from job.command_line import Log
from job.errors import JobError, RunError
from job.features.layout import models
from job.features.snapshot import SNAPSHOT, read_snapshot
from job.features.table import read_features
from job.features.wave import MARKER, committed
from job.results.index import read_description
from job.results.run_record import RUN, read_run
from job.results.tables import read_results
from job.settings import Settings
from job.spark.session import local_session
from job.stages.featurize import featurize
from job.stages.hold import naming_files
from job.stages.prune import prune
from job.stages.reduce import reduce
from job.stages.report import report
from job.storage.lease import LeaseTimes
from job.storage.lock import locked, names_nothing
from tests.conftest import make_images
from tests.faulty_s3 import OTHER_ACCOUNTS, Fault, FaultyS3, Request, s3_variables
from tests.reader import paths_of
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUCKET = "schedules"
COMMANDS = ("run", "reduce", "report", "prune")

# The paused run sends no heartbeats and does not notice its silence; the other takes over its lease at once, as if two
# minutes had passed.
PAUSED = LeaseTimes(beat_seconds=1e6, lost_seconds=1e6)
AT_ONCE = LeaseTimes(beat_seconds=1e6, stale_seconds=0.0, lost_seconds=1e6)


class PausingS3(FaultyS3):
    """A relay that pauses one write, and watches under which lease each naming file is written."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, self._hold_up)
        self.faults: list[str] = []
        self._holder = ""
        self._pauses: list[Pause] = []
        self._written = threading.Lock()

    def pause(self, number: int) -> "Pause":
        """Pause the write with this number, counted from now on, until the pause is over."""
        pause = Pause(number)
        self._pauses = [pause]
        return pause

    def _hold_up(self, request: Request) -> Fault | None:
        if request.method in {"PUT", "POST", "DELETE"}:
            for pause in self._pauses:
                pause.count(request)
        return None

    def relay(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Relay a request; note the holder of the lease, and each naming file that another run writes."""
        copied = any(name.lower() == "x-amz-copy-source" for name in headers)
        if method != "PUT" or copied or not path.endswith((".lock", RUN, SNAPSHOT, MARKER)):
            return super().relay(method, path, headers, body)
        with self._written:
            answer = super().relay(method, path, headers, body)
            if answer[0] == 200:
                self._note(path, json.loads(body))
        return answer

    def _note(self, path: str, values: dict[str, str]) -> None:
        if path.endswith(".lock"):
            self._holder = values["holder"]
        elif values.get("lease") != self._holder:
            self.faults.append(f"{path} was written under {values.get('lease')} while {self._holder} had the lease")


@dataclass
class Pause:
    """A pause before a write: the number of writes before it, which one it was, whether it is over."""

    number: int
    at: Request | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, request: Request) -> None:
        """Count a write; wait if it is the one."""
        with self.lock:
            self.number -= 1
            chosen = self.number == -1
        if chosen:
            self.at = request
            self.reached.set()
            self.over.wait()


@dataclass(frozen=True)
class Schedule:
    """Two commands, whether there are results before, and before which of its writes each is paused (None: never)."""

    first: str
    second: str
    results: bool
    pause: int
    second_pause: int | None

    @classmethod
    def drawn(cls, seed: int) -> "Schedule":
        """Return the schedule of a seed."""
        draw = random.Random(seed)
        first, second = draw.choice(COMMANDS), draw.choice(COMMANDS)
        results = first != "run" or draw.random() < 0.5
        return cls(first, second, results, draw.randrange(40), draw.choice([None, draw.randrange(30)]))


class Theater:
    """The stage for schedules: a server, a session, images of two days, an output with the results of the first day."""

    def __init__(self, spark: "SparkSession", server: PausingS3, folder: Path) -> None:
        self._spark, self._server = spark, server
        self._days = [make_images(folder / f"day-{day}", {"a": 6 + day, "b": 5 - day}) for day in range(3)]
        self._model = make_tiny_model(folder / "model", seed=1)
        self._number = 0
        self._prepared = f"s3://{BUCKET}/prepared"
        for day in (0, 1):
            self._command("run", self._prepared, day, PAUSED)

    def play(self, schedule: Schedule) -> tuple[Request | None, str, str]:
        """Play a schedule; return where the first was paused, and how each ended; raises AssertionError."""
        output = f"s3://{BUCKET}/{self._number}"
        self._number += 1
        if schedule.results:
            copy_prefix(self._prepared, output)
        pause = self._server.pause(schedule.pause)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self._command, schedule.first, output, 1, PAUSED)
            while not (pause.reached.wait(0.02) or first.done()):
                pass
            second_pause = self._server.pause(-1 if schedule.second_pause is None else schedule.second_pause)
            second = pool.submit(self._command, schedule.second, output, 2, AT_ONCE)
            while not (second_pause.reached.wait(0.02) or second.done()):
                pass
            pause.over.set()
            ends = [first.result()]
            second_pause.over.set()
            ends.append(second.result())
        self._server.pause(-1)
        self.inspect(output, schedule)
        # The next run must succeed.
        assert self._command("run", output, 2, AT_ONCE) == "done"
        self.inspect(output, schedule)
        return pause.at, ends[0], ends[1]

    def _command(self, command: str, output: str, day: int, times: LeaseTimes) -> str:
        """Run a command; return `done`, or why it was refused."""
        settings = Settings(
            images=str(self._days[day]), model=str(self._model), output=output, components=2, report=False
        )
        try:
            with locked(output, times=times, naming=naming_files):
                if command == "run":
                    featurize(self._spark, settings)
                if command in {"run", "reduce"}:
                    reduce(self._spark, settings)
                if command == "report":
                    report(self._spark, settings)
                if command == "prune":
                    prune(self._spark, settings)
        except (JobError, RunError) as error:
            return str(error)
        return "done"

    def inspect(self, output: str, schedule: Schedule) -> None:
        """Read all that is named in an output; each image is there once."""
        assert not self._server.faults, (schedule, self._server.faults)
        for model in models(output):
            for file in committed(output, model):
                assert storage.stat(storage.join(output, file.name)).length == file.bytes, (schedule, file)
        current = storage.join(output, SNAPSHOT)
        if storage.exists(current) and not names_nothing(json.loads(storage.read(current))):
            snapshot = read_snapshot(output)
            paths = paths_of(read_features(output))
            assert len(set(paths)) == len(paths) == snapshot.counts.listed, (schedule, sorted(paths))
        run = read_run(output)
        if run:
            paths = paths_of(read_results(output))
            assert len(set(paths)) == len(paths) == run.counts.ok, (schedule, sorted(paths))
            assert storage.exists(run.basis_address(output)), schedule
            index = read_description(run.index_folder(output))
            for part in index.parts:
                assert storage.exists(storage.join(run.index_folder(output), part.name)), (schedule, part)


def copy_prefix(source: str, target: str) -> None:
    """Copy all objects below a prefix to another one."""
    import boto3  # noqa: PLC0415 - after the environment is set

    client = boto3.client("s3")
    for entry in storage.walk(source):
        key = storage.split_s3(target)[1] + entry.address[len(source) :]
        origin = {"Bucket": BUCKET, "Key": storage.split_s3(entry.address)[1]}
        client.copy_object(Bucket=BUCKET, Key=key, CopySource=origin)


@contextmanager
def theater() -> Iterator[Theater]:
    """Open a theater: a moto server behind the relay, and a Spark session whose workers use it as S3."""
    import boto3  # noqa: PLC0415 - after the environment is set
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints each request
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    server = PausingS3(f"http://{host}:{port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in OTHER_ACCOUNTS:
        os.environ.pop(name, None)
    os.environ |= s3_variables(server.url)
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder, "spark.log"))
        with local_session(Settings(master="local[2,4]"), log) as spark:
            yield Theater(spark, server, Path(folder))
    server.shutdown()
    moto.stop()


def every_write(play: Theater, first: str, second: str) -> Iterator[tuple[Schedule, Request | None, str, str]]:
    """Play two commands with a pause before each write of the first, until there is none left."""
    for number in count():
        schedule = Schedule(first, second, True, number, None)
        paused, *ends = play.play(schedule)
        yield schedule, paused, ends[0], ends[1]
        if paused is None:
            return


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m tests.schedules", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--schedules", type=int, default=200, help="number of schedules (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first schedule (default: %(default)s)")
    parser.add_argument("--every", nargs=2, metavar=("FIRST", "SECOND"), choices=COMMANDS, help="pause at each write")
    parser.add_argument("--verbose", action="store_true", help="print each schedule and how it ended")
    options = parser.parse_args()
    ends: Counter[str] = Counter()
    with theater() as play:
        if options.every:
            schedules = every_write(play, *options.every)
        else:
            drawn = map(Schedule.drawn, range(options.seed, options.seed + options.schedules))
            schedules = ((schedule, *play.play(schedule)) for schedule in drawn)
        for schedule, paused, first, second in schedules:
            ends[f"{'done' if first == 'done' else 'refused'}, {'done' if second == 'done' else 'refused'}"] += 1
            if options.verbose:
                where = f"{paused.method} {paused.path}" if paused else "the end"
                print(f"{schedule}\n  at {where}\n  first: {first}\n  second: {second}", flush=True)
    print(f"{ends.total()} schedules; how the first and the second ended: {dict(ends)}")
    print("no file was named under a lease that was lost, none that is named is gone, no image is there twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())

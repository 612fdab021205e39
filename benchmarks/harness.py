"""The frame of every benchmark: contenders timed in turn, a table of medians and ratios, JSON with machine and date.

Contenders take turns, each round in the other direction, so that a machine that slows down slows them all.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from job.spark.heartbeat import repeatedly

RESULTS = Path("build/bench")
PACKAGES = ("ai-edge-litert", "numpy", "obstore", "pillow", "pyarrow", "pyspark", "scikit-learn", "tensorflow")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Claim:
    """A ratio or a size with its bound: `at_least`, or `at_most`."""

    what: str
    value: float
    unit: str = "times"
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Return whether the figure is within its bound."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        """Return `0.96 times (at least 0.95: yes)  what`."""
        bounds = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        verdict = f" ({' and '.join(bounds)}: {'yes' if self.holds else 'NO'})" if bounds else ""
        return f"{self.value:8.4g} {self.unit}{verdict}  {self.what}"


@dataclass
class Bench:
    """The findings of one benchmark, printed as they come and kept as JSON.

    Attributes
    ----------
    name : str
        Of the JSON file, `build/bench/NAME.json`.
    options : dict
        The options of the command line.
    tables : list
        Titles, and for each contender the figures of every round.
    claims : list of Claim
    """

    name: str
    options: Mapping[str, Any]
    tables: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print one line at once."""
        print(text, flush=True)

    def compare(
        self, title: str, contenders: Mapping[str, Callable[[], float]], rounds: int, items: int | None = None
    ) -> dict[str, float]:
        """Time contenders in turn, print their table and return each one's median.

        Parameters
        ----------
        contenders : mapping of str to function
            Each is called once a round and returns what it took, in seconds; the first is what the others are compared
            with.
        items : int, optional
            How many images, rows or keys each goes through, for a rate.
        """
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(rounds):
            for name in list(contenders)[:: -1 if number % 2 else 1]:
                seconds[name].append(contenders[name]())
                self.say(f"  round {number + 1} of {rounds}: {name} {seconds[name][-1]:.2f} s")
        return self.table(title, seconds, items)

    def table(self, title: str, seconds: Mapping[str, Sequence[float]], items: int | None = None) -> dict[str, float]:
        """Print the table of what contenders took, in seconds, and return each one's median."""
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        first = next(iter(medians.values()))
        width = max(map(len, medians))
        self.say(f"{title}\n  {'':{width}}    median s  {'each':24}  times the first{'   a second' if items else ''}")
        for name, values in seconds.items():
            each = " ".join(f"{value:.2f}" for value in values)
            rate = f"{items / medians[name]:11,.1f}" if items else ""
            self.say(f"  {name:{width}}  {medians[name]:10.2f}  {each:24}  {medians[name] / first:15.3f}{rate}")
        self.tables.append({"title": title, "items": items, "seconds": dict(seconds), "medians": medians})
        return medians

    def claim(
        self,
        what: str,
        value: float,
        unit: str = "times",
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Print and keep a figure with its bound."""
        self.claims.append(Claim(what, value, unit, at_least, at_most))
        self.say(str(self.claims[-1]))

    def save(self) -> None:
        """Write the JSON."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {
            "bench": self.name,
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "machine": machine(),
        }
        record |= {"versions": versions(), "options": dict(self.options), "tables": self.tables}
        record |= {"claims": [asdict(claim) | {"holds": claim.holds} for claim in self.claims]}
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")
        self.say(f"{record['machine']}\nall of it: {path}")


@contextmanager
def bench(name: str, options: argparse.Namespace) -> Iterator[Bench]:
    """Yield a benchmark's findings, and write them at its end."""
    found = Bench(name, vars(options))
    yield found
    found.save()


def machine() -> str:
    """Return the machine in words: processor, cores, memory."""
    try:
        processors = Path("/proc/cpuinfo").read_text()
        name = next(line.partition(":")[2].strip() for line in processors.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{name}, {cores()} cores, {memory:.0f} GB, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Return the versions of the packages that the figures depend on, of those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def run_together(target: Callable[..., None], shares: Sequence[tuple[object, ...]]) -> float:
    """Return the seconds from the moment that processes, one for each share, are ready until the last one is done.

    Each calls `target(ready, *share)`, and begins its work when `ready.wait()` returns.
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(len(shares) + 1)
    workers = [context.Process(target=target, args=(ready, *share)) for share in shares]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"a process of {target.__module__} has failed")
    return seconds


@contextmanager
def watched(process: int) -> Iterator[dict[str, float]]:
    """Yield a dictionary that holds, at the end, the peak memory of a process and of those below it.

    In MB resident, by kind: `driver` the process itself, `jvm` Java, `executor` Java of executors that have processes
    of their own, `worker` the largest of Python's workers.
    """
    peaks: dict[str, float] = {}

    def watch() -> None:
        for kind, megabytes in _memory(process):
            peaks[kind] = max(peaks.get(kind, 0.0), megabytes)

    with repeatedly(watch, 0.1):
        yield peaks


def _memory(root: int) -> list[tuple[str, float]]:
    """Return kind and peak resident memory, in MB, of a process and all below it."""
    parents: dict[int, int] = {}
    found: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            process, command = int(entry.name), (entry / "cmdline").read_bytes()
            parents[process] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            [line] = [line for line in (entry / "status").read_text().splitlines() if line.startswith("VmHWM")]
        except (OSError, ValueError):
            continue  # it has just ended
        workers = (b"pyspark.daemon", b"pyspark/daemon", b"job.images.sandbox")
        kind = "worker" if any(word in command for word in workers) else "jvm" if b"java" in command else "driver"
        kind = "executor" if b"CoarseGrainedExecutorBackend" in command else kind
        found[process] = kind, int(line.split()[1]) * 1024 / MEGABYTE

    def below(process: int) -> bool:
        while process != root and process in parents:
            process = parents[process]
        return process == root

    return [value for process, value in found.items() if below(process)]


def parser(module: str, text: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """Return a benchmark's command line, with the option that all of them have."""
    made = argparse.ArgumentParser(f"python -m benchmarks.{module}", description=text)
    made.add_argument(
        "--rounds", type=int, default=rounds, help="times that each contender runs (default: %(default)s)"
    )
    return made


def die(message: str) -> None:
    """End the benchmark with one sentence on what is missing or wrong."""
    sys.exit(f"error: {message}")

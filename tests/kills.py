"""Kills runs of the job at random moments and compares what the survivors leave with an undisturbed run.

    python -m tests.kills --kills 50

Each run is killed (SIGKILL; the driver mostly, else one of its Python workers) at a moment drawn from the time that an
undisturbed run takes, or at an aim: as soon as it has committed a wave, written a part of its results, shown them to
plain readers, or, for a prune or a compaction, moved rows. The next run goes on from there: it must reuse every row
that was committed. Once a run has come to its end, its output is compared: one row for each image, features bit for
bit, coordinates to 1e-6 of the largest. Then either some images go, a prune is killed and they come back, or the
compaction of a run is killed; and it is compared again. All the time another process reads the output (`tests.reader`).
Then again from nothing, until all kills are spent.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from job.features.table import read_features
from tests.conftest import make_images, run_json

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Tally:
    """What was done.

    Attributes
    ----------
    drivers, workers : int
        Kills by victim.
    ends : int
        Runs that came to their end.
    reused : list of int
        The number of images that each of those reused.
    aims : Counter
        Kills of drivers by what they were aimed at.
    reads : Counter
        Whole answers of the reader, by the way it read.
    """

    drivers: int = 0
    workers: int = 0
    ends: int = 0
    reused: list[int] = field(default_factory=list)
    aims: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        """Return the number of kills."""
        return self.drivers + self.workers


def start(images: Path, output: Path, wave_seconds: float) -> "subprocess.Popen[bytes]":
    """Start the job with the embedded model."""
    options = ["--images", str(images), "--model", str(ROOT / "bootstrap" / "embedded"), "--output", str(output)]
    return start_command(output, "run", *options, "--wave-seconds", str(wave_seconds), "--components", "20")


def start_command(output: Path, *arguments: str, module: str = "job") -> "subprocess.Popen[bytes]":
    """Start a command of the job."""
    with (output.parent / "stderr").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said
        )


def workers(pid: int) -> list[int]:
    """Return the Python workers below a driver: its grandchildren's children that run pyspark's daemon."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        children = parents.get(pending.pop(), [])
        pending += children
        found += [child for child in children if child not in parents and b"pyspark.daemon" in command(child)]
    return found


def command(pid: int) -> bytes:
    """Return a process's command line, empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def answer(output: Path) -> tuple[dict[str, bytes], pd.DataFrame]:
    """Return the current features by path, and the coordinates; each path must stand once."""
    table = read_features(str(output))
    assert isinstance(table, pa.Table)
    frame = table.to_pandas()
    assert frame["path"].is_unique
    stored = pd.read_parquet(output / "features", columns=["path"])
    assert stored["path"].is_unique, "an image was inferred and committed twice"
    features = {
        path: np.asarray(vector).tobytes() for path, vector in zip(frame["path"], frame["features"], strict=True)
    }
    return features, pd.read_csv(output / "pca_matrix.csv", sep=";", index_col="path")


def compare(output: Path, expected: tuple[dict[str, bytes], pd.DataFrame]) -> None:
    """Compare the output of a run with that of the undisturbed run."""
    features, coordinates = answer(output)
    assert features == expected[0]
    ours, theirs = (frame.filter(like="pca_").to_numpy() for frame in (coordinates, expected[1]))
    assert list(coordinates.index) == list(expected[1].index)
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()


def strike(process: "subprocess.Popen[bytes]", moment: float, draw: random.Random, tally: Tally) -> bool:
    """Kill the run, or a worker of it, at a moment; return whether the driver was killed."""
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        victims = workers(process.pid) if draw.random() < 0.3 else []
        if victims:
            try:
                os.kill(draw.choice(victims), signal.SIGKILL)
            except ProcessLookupError:  # it ended by itself in between
                return False
            tally.workers += 1
            return False
        process.kill()
        process.wait()
        tally.drivers += 1
        return True
    return False


def committed_rows(output: Path) -> int:
    """Return the number of rows that the waves of an output hold."""
    markers = output.glob("features/model=*/wave=*/_COMMIT.json")
    return sum(json.loads(marker.read_text())["rows"] for marker in markers)


def signs(output: Path) -> dict[str, object]:
    """Return for each aim a value that changes when a command reaches it."""
    shown = output / "pca_results"
    return {
        "commit": committed_rows(output),
        "reduction": frozenset(output.glob("_results/run=*/*.parquet")),
        "publishing": shown.stat().st_ino if shown.exists() else None,
        "moving": frozenset(output.glob("features/model=*/wave=*")),
        "compaction": frozenset(output.glob("features/model=*/wave=*/*.parquet")),
    }


def strike_at(process: "subprocess.Popen[bytes]", output: Path, aim: str, tally: Tally) -> bool:
    """Kill a command's driver as soon as it reaches an aim; return whether it was killed."""
    before = signs(output)[aim]
    while signs(output)[aim] == before:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    process.kill()
    process.wait()
    tally.drivers += 1
    tally.aims[aim] += 1
    return True


@contextmanager
def watched(output: Path, sizes: Sequence[int], tally: Tally) -> Iterator[None]:
    """Have another process read an output during the block; raises AssertionError where it finds a fault."""
    command = [sys.executable, "-m", "tests.reader", str(output), *map(str, sizes)]
    reader = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
    except BaseException:
        reader.kill()
        raise
    found = json.loads(reader.communicate()[0])
    assert not found["faults"], found["faults"][:10]
    tally.reads.update(found["whole"])


def kill_runs(folder: Path, count: int, kills: int, wave_seconds: float, seed: int) -> Tally:
    """Kill runs of `count` images in an empty folder; raises AssertionError where anything differs."""
    draw, tally = random.Random(seed), Tally()
    images = make_images(folder / "images", {f"label {number}": count // 10 for number in range(10)})
    started = time.monotonic()
    assert start(images, folder / "undisturbed", wave_seconds).wait() == 0
    whole = time.monotonic() - started
    expected = answer(folder / "undisturbed")
    assert len(expected[0]) == count // 10 * 10
    removed = sorted(images.glob("label 0/*.jpg"))[: count // 20]
    while tally.kills < kills:
        output = folder / f"output-{tally.ends}"
        with watched(output, [len(expected[0]), len(expected[0]) - len(removed)], tally):
            tally.reused.append(run_to_the_end(images, output, wave_seconds, whole, draw, kills, tally))
            compare(output, expected)
            if draw.random() < 0.5:
                prune_to_the_end(images, removed, output, wave_seconds, draw, tally)
            else:
                compact_to_the_end(images, output, wave_seconds, tally)
            compare(output, expected)
    return tally


def run_to_the_end(
    images: Path, output: Path, wave_seconds: float, whole: float, draw: random.Random, kills: int, tally: Tally
) -> int:
    """Start and kill runs until one comes to its end; return how many images that one reused.

    `whole` is the duration of an undisturbed run, in seconds.
    """
    while True:
        known = committed_rows(output)
        process = start(images, output, wave_seconds)
        aim = "commit" if not tally.drivers else draw.choice(["reduction", "publishing", None])
        dead = False
        if aim and tally.kills < kills:
            dead = strike_at(process, output, aim, tally)
        while not dead and process.poll() is None and tally.kills < kills:
            dead = strike(process, draw.uniform(0, whole), draw, tally)
        if dead:
            continue
        assert process.wait() == 0, (output.parent / "stderr").read_text()
        tally.ends += 1
        reused: int = run_json(output)["counts"]["reused"]
        assert reused == known, "a run inferred images again, or reused what was not committed"
        return reused


def prune_to_the_end(
    images: Path, removed: list[Path], output: Path, wave_seconds: float, draw: random.Random, tally: Tally
) -> None:
    """Remove images, kill a prune of what they leave, prune, and bring the images back."""
    aside = images.parent / "aside"
    aside.mkdir(exist_ok=True)
    for path in removed:
        path.rename(aside / path.name)
    assert start(images, output, wave_seconds).wait() == 0
    process = start_command(output, "prune", "--output", str(output))
    if not strike_at(process, output, draw.choice(["moving", "commit"]), tally):
        assert process.wait() == 0
    assert start_command(output, "prune", "--output", str(output)).wait() == 0
    for path in removed:
        (aside / path.name).rename(path)
    assert start(images, output, wave_seconds).wait() == 0


def compact_to_the_end(images: Path, output: Path, wave_seconds: float, tally: Tally) -> None:
    """Kill a run while it merges its small files, run again, and prune the files that it has not come to delete."""
    process = start_command(output, str(images), str(output), module="tests.compaction")
    if not strike_at(process, output, "compaction", tally):
        assert process.wait() == 0
    assert start(images, output, wave_seconds).wait() == 0
    assert start_command(output, "prune", "--output", str(output)).wait() == 0


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m tests.kills", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=50, help="number of kills (default: %(default)s)")
    parser.add_argument(
        "--images", type=int, default=2000, help="number of images in the folder (default: %(default)s)"
    )
    parser.add_argument(
        "--wave-seconds", type=float, default=2, help="--wave-seconds of each run (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_runs(Path(folder), options.images, options.kills, options.wave_seconds, options.seed)
    print(f"{tally.drivers} drivers and {tally.workers} workers killed; {tally.ends} runs came to their end")
    print(f"each as the undisturbed run, bit for bit; they reused {tally.reused} images")
    print(f"drivers that were aimed at: {dict(tally.aims)}")
    print(f"meanwhile another process read, whole and of one run each time: {dict(tally.reads)}")


if __name__ == "__main__":
    main()

"""Times the whole job as a process of its own, Spark's start included: python -m benchmarks.whole_run --images DIR.

The network has full size (MobileNetV2 alpha 1.0, 224 x 224) and random weights: what the numbers are does not change
how long they take. Every run starts from nothing; one more runs on what the last has left.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.inputs import random_model
from bootstrap.sample import write

# The reference notebook on the same 496 pictures, with `local[*]`, on 2 cores: the figure to beat, measured before.
REFERENCE_SECONDS = 127.4


def time_run(images: Path, model: Path, output: Path) -> tuple[float, dict[str, object]]:
    """Run the job once; return its wall time in seconds and what run.json says."""
    options = ["--images", str(images), "--model", str(model), "--output", str(output)]
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "job", "run", *options], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, json.loads((output / "run.json").read_text())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.whole_run", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of pictures (default: the rendered sample)")
    parser.add_argument("--alpha", type=float, default=1.0, help="the network's width (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs from nothing (default: %(default)s)")
    options = parser.parse_args()
    images = options.images or Path("build/sample")
    if options.images is None:
        write(images)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(options.alpha)
        outputs = [Path(folder, f"results-{run}") for run in range(options.runs)]
        results = [time_run(images, model, output) for output in outputs]
        again, _ = time_run(images, model, outputs[-1])
    for seconds, result in results:
        print(f"{seconds:6.1f} s  {result['counts']}  {result['seconds']}")
    median = statistics.median(seconds for seconds, _ in results)
    print(f"median of {options.runs} runs from nothing: {median:.1f} s; once more with nothing new: {again:.1f} s")
    ratio = REFERENCE_SECONDS / median
    print(f"the reference notebook's {REFERENCE_SECONDS} s on its 496 pictures is {ratio:.1f} times that")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()

"""The whole job as a process, Spark's start included, beside the reference notebook: python -m benchmarks.whole_run.

The network has full size (MobileNetV2 alpha 1.0, 224 x 224) and random weights: their values do not change how
long an inference takes. Every run starts from nothing; one more runs on what the last has left. The notebook runs in
.venv-bench (`make .venv-bench/all`).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import inputs
from benchmarks.harness import bench, parser, timed
from benchmarks.peers.environment import call
from bootstrap.sample import write


def time_run(images: Path, model: Path, output: Path) -> float:
    """Return the seconds of the whole job as a process; one that fails ends the benchmark with its message."""
    options = ["--images", str(images), "--model", str(model), "--output", str(output)]
    command = [sys.executable, "-m", "job", "run", *options]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if done.returncode:
            sys.exit(done.stderr)

    return timed(run)


def main() -> None:
    """Run the command."""
    command = parser("whole_run", __doc__, rounds=1)
    command.add_argument("--images", type=Path, help="folder of images (default: the rendered sample)")
    options = command.parse_args()
    images = (options.images or Path("build/sample")).resolve()
    if options.images is None:
        write(images)
    inputs.warm(images)
    count, model = sum(1 for _ in images.rglob("*.jpg")), inputs.random_model()
    with bench("whole_run", options) as found, tempfile.TemporaryDirectory() as folder:
        number = 0

        def output() -> Path:
            nonlocal number
            number += 1
            return Path(folder, str(number))

        def ours() -> float:
            made = output()
            seconds = time_run(images, model, made)
            found.say(f"    {json.dumps(json.loads((made / 'run.json').read_text())['seconds'])}")
            return seconds

        def notebook(master: str) -> float:
            weights = model / inputs.WEIGHTS
            return timed(lambda: call("benchmarks.peers.notebook", images, weights, output(), "--master", master))

        medians = found.compare(
            f"{count:,} images to features and PCA, from nothing, Spark's start included",
            {
                "this job": ours,
                "the notebook, local[*]": lambda: notebook("local[*]"),
                "the notebook as it stands, local": lambda: notebook("local"),
            },
            options.rounds,
            count,
        )
        again = output()
        time_run(images, model, again)
        found.table("once more with nothing new", {"this job": [time_run(images, model, again)]})
        job, parallel, sequential = medians.values()
        found.claim("this job against the notebook on local[*]", parallel / job, at_least=8)
        found.claim("this job against the notebook as it stands, on local", sequential / job, at_least=14)


if __name__ == "__main__":
    main()

"""Large photos, shrunk while libjpeg loads them or decoded in full: python -m benchmarks.photos [--images DIR].

Features in `--mode fast` and in `--mode exact`, in a warm session, and the smallest cosine between the two.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.agreement import Vectors, by_name, least_cosine
from benchmarks.features import session, settings
from benchmarks.harness import bench, parser, timed
from job.features.table import read_features
from job.stages.featurize import featurize

WIDTH, HEIGHT = 4_000, 3_000


def main() -> None:
    """Run the command."""
    command = parser("photos", __doc__)
    command.add_argument("--images", type=Path, help="folder of photos with names of their own (default: made ones)")
    command.add_argument("--count", type=int, default=144, help="how many to make (default: %(default)s)")
    command.add_argument("--model", type=Path, help="model folder (default: random weights, MobileNetV2 1.0 at 224)")
    options = command.parse_args()
    images = options.images or inputs.images(options.count, WIDTH, HEIGHT)
    model = options.model or inputs.random_model()
    inputs.warm(images)
    vectors: dict[str, Vectors] = {"fast": {}, "exact": {}}
    with bench("photos", options) as found, tempfile.TemporaryDirectory() as folder, session(Path(folder)) as spark:

        def run(mode: str) -> float:
            with tempfile.TemporaryDirectory() as output:
                job = replace(settings(images, model, Path(output)), mode=mode)
                seconds = timed(lambda: featurize(spark, job))
                vectors[mode] = by_name(read_features(output))
            return seconds

        run("fast")  # the images are in memory, and workers have decoded a large one
        medians = found.compare(
            f"{len(vectors['fast'])} photos, features",
            {mode: partial(run, mode) for mode in ("fast", "exact")},
            options.rounds,
            len(vectors["fast"]),
        )
        found.claim(
            "shrinking while loading against decoding in full", medians["exact"] / medians["fast"], at_least=2.0
        )
        found.claim("smallest cosine", least_cosine(vectors["fast"], vectors["exact"]), "", at_least=0.999)


if __name__ == "__main__":
    main()

"""How the cost grows with images, with tasks at a time, with the images' size: python -m benchmarks.growth."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import inputs
from benchmarks.features import features, session, whole
from benchmarks.harness import Bench, bench, cores, parser, timed

# Images' width and height, and how many of them.
SIZES = ((100, 100, 2_000), (1_152, 864, 400), (4_000, 3_000, 100))


@contextmanager
def warm(master: str | None = None) -> Iterator[tuple[Callable[[Path], float], Callable[[Path], float]]]:
    """Yield two functions of a folder: the seconds of the features stage and of the whole job, in a warm session."""
    model = inputs.random_model()
    with tempfile.TemporaryDirectory() as folder, session(Path(folder), master) as spark:
        yield (
            lambda images: timed(lambda: features(spark, images, model)),
            lambda images: timed(lambda: whole(spark, images, model)),
        )


def by_number(found: Bench, numbers: list[int]) -> None:
    """Time the whole job on more and more images."""
    folders = {number: inputs.images(number) for number in numbers}
    with warm() as (_, job):
        contenders = {f"{number:,} images": lambda folder=folder: job(folder) for number, folder in folders.items()}
        medians = found.compare("the whole job, 100 x 100, warm session", contenders, found.options["rounds"])
    each = {number: 1e3 * medians[f"{number:,} images"] / number for number in numbers}
    for number, milliseconds in each.items():
        found.say(f"  {number:,}: {milliseconds:.2f} ms an image")
    found.claim(f"an image of {numbers[-1]:,} against one of {numbers[0]:,}", each[numbers[-1]] / each[numbers[0]])


def by_tasks(found: Bench, number: int) -> None:
    """Time the features stage with one task at a time, and with as many as there are cores."""
    folder, seconds = inputs.images(number), {}
    for tasks in (1, cores()):
        with warm(f"local[{tasks},4]") as (stage, _):
            seconds[f"{tasks} at a time"] = [stage(folder) for _ in range(found.options["rounds"])]
    medians = found.table(f"features of {number:,} images of 100 x 100 by tasks", seconds, number)
    sequential, parallel = medians.values()
    found.claim(f"{cores()} tasks at a time against one", sequential / parallel)


def by_size(found: Bench) -> None:
    """Time the features stage on images of other sizes, and say what each takes of a core."""
    with warm() as (stage, _):
        for width, height, number in SIZES:
            folder = inputs.images(number, width, height)
            seconds = {f"{width} x {height}": [stage(folder) for _ in range(found.options["rounds"])]}
            [median] = found.table(f"features of {number:,} images", seconds, number).values()
            found.say(f"  {1e3 * cores() * median / number:.1f} ms of a core an image")


def main() -> None:
    """Run the command."""
    command = parser("growth", __doc__, rounds=1)
    command.add_argument(
        "--images", type=int, nargs="+", default=[1_000, 5_000, 20_000, 40_000], help="how many (default: %(default)s)"
    )
    options = command.parse_args()
    with bench("growth", options) as found:
        by_number(found, sorted(options.images))
        by_tasks(found, 2_000)
        by_size(found)


if __name__ == "__main__":
    main()

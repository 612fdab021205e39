"""What resolution and width buy: labeled images in, speed, cost and nearest neighbors of each network out.

python -m benchmarks.tradeoff --images DIR, where an image's label is its parent folder's name. One process decodes and
infers a sample of the images as the job does; the networks take turns.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import knn
from benchmarks.harness import Bench, bench, die, parser, timed
from benchmarks.inputs import INPUTS, random_model
from benchmarks.labeled_sets import LabeledSet, labeled_set
from bootstrap.model import EMBEDDED_FOLDER, IMAGENET_SIZES, ModelSpec, make
from job.curation.intervals import Interval
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from job.features.silenced import silenced
from job.images.decode import decode
from submit import cost

Network = tuple[float, int]  # alpha, and the input's side in pixels

MILLION = 1_000_000
NEIGHBORS = 10
ALPHAS = (1.0, 0.75, 0.5, 0.35)
DEFINITIONS = """right: share of images whose nearest neighbor by cosine, among all others{beyond}, has their label, \
with Wilson's 95 % interval.
same: mean share of an image's {near} nearest neighbors that the reference, the first line, finds too.
not worse: on the same images, the 95 % interval of the difference in right (Bonett and Price 2012) reaches 0, \
and stays above -{margin:g}.
Images of one thing are similar, so that these intervals are narrower than those of as many different things; with \
--groups, neighbors come from other series.
a million: USD by submit/cost.py, for all that a run does; python -m submit cost lists its assumptions."""


@dataclass(frozen=True)
class Row:
    """The figures of one network; `rate` in images a second on one core, `usd` for a million images."""

    alpha: float
    input_size: int
    rate: float
    usd: float
    right: Interval
    same: float
    difference: Interval
    not_worse: bool

    def __str__(self) -> str:
        """Return the line of the table."""
        right = f"{self.right.value:.3f} ({self.right.low:.3f} to {self.right.high:.3f})"
        difference = f"{self.difference.low:+.3f} to {self.difference.high:+.3f}"
        speed_and_cost = f"{self.alpha:5g} {self.input_size:5} {self.rate:11,.0f} {self.usd:10.2f}"
        return f"{speed_and_cost}   {right:24} {self.same:5.2f}   {difference:18} {'yes' if self.not_worse else 'no'}"


HEADER = "alpha  size    a second  a million   right                     same   difference         not worse"


def extractors(options: argparse.Namespace) -> dict[Network, FeatureExtractor]:
    """Return the networks by alpha and input size; the first and largest is the reference."""
    weights = options.weights
    if weights == "embedded":
        if options.alpha or options.input_size:
            raise JobError("the embedded weights have one width and size: leave out --alpha and --input-size")
        folders = [EMBEDDED_FOLDER]
    else:
        alphas = options.alpha or (ALPHAS if weights in ("imagenet", "random") else ALPHAS[:1])
        networks = {(alpha, size) for alpha in alphas for size in options.input_size or IMAGENET_SIZES}
        folders = [_model_folder(weights, *network) for network in sorted(networks, reverse=True)]
    loaded = {}
    for folder in folders:
        model = read_model(str(folder))
        with silenced():  # LiteRT names its delegate
            loaded[model.description.alpha, model.description.input_size] = FeatureExtractor(model)
    return loaded


def _model_folder(weights: str, alpha: float, input_size: int) -> Path:
    if weights == "random":
        return random_model(alpha, input_size)
    folder = INPUTS / f"tradeoff-{Path(weights).name}-{alpha:g}-{input_size}"
    make(ModelSpec(weights, alpha, input_size), folder)
    return folder


def extract_all(extractor: FeatureExtractor, paths: Sequence[Path], input_size: int) -> NDArray[np.float32]:
    """Return the features, shape (n, d), of images that are read, decoded and inferred as the job does."""
    return np.stack([extractor.extract(decode(path.read_bytes(), input_size).pixels) for path in paths])


def compare(
    features: dict[Network, NDArray[np.float32]],
    rates: dict[Network, float],
    images: LabeledSet,
    margin: float,
) -> list[Row]:
    """Return the table: a row for each network, in the order given; the first is the reference."""
    neighbors = {network: knn.nearest(vectors, images.groups, NEIGHBORS) for network, vectors in features.items()}
    right = {network: images.labels[rows[:, 0]] == images.labels for network, rows in neighbors.items()}
    reference = next(iter(features))
    table = []
    for network in features:
        difference = knn.difference(right[network], right[reference])
        table.append(
            Row(
                *network,
                rate=rates[network],
                usd=cost.estimate(MILLION, rates[network]).usd,
                right=knn.share(right[network]),
                same=knn.overlap(neighbors[network], neighbors[reference]),
                difference=difference,
                not_worse=network == reference or not_worse(difference, margin),
            )
        )
    return table


def not_worse(difference: Interval, margin: float) -> bool:
    """Return whether a difference from the reference shows no loss, and rules out a loss beyond the margin."""
    return difference.high >= 0 and difference.low > -margin


def cheapest(rows: Sequence[Row]) -> Row:
    """Return the cheapest network that is not worse than the reference; the first of several at the same cost."""
    return min((row for row in rows if row.not_worse), key=lambda row: row.usd)


def report(rows: Sequence[Row], options: argparse.Namespace, findings: Bench) -> None:
    """Print the table, the meaning of its columns, and the cheapest network that is not worse."""
    beyond = f" of another group ({options.groups})" if options.groups is not None else ""
    findings.say("\n".join([HEADER, *map(str, rows)]))
    findings.say(DEFINITIONS.format(beyond=beyond, near=NEIGHBORS, margin=options.margin))
    findings.tables.append({"title": "trade-off", "rows": [asdict(row) for row in rows]})
    if options.weights == "random":
        findings.say("The weights are random: only speed and cost mean anything.")
        return
    if rows[0].difference.low <= -options.margin:
        findings.say(f"So few images cannot rule out a loss of {-rows[0].difference.low:.3f}: give more.")
    best = cheapest(rows)
    findings.claim(
        f"cost of the reference, against alpha {best.alpha:g} at {best.input_size}: the cheapest that is not worse",
        rows[0].usd / best.usd,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    command_line = parser("tradeoff", __doc__)
    add = command_line.add_argument
    add("--images", type=Path, required=True, help="folder with a folder of images for each label")
    add("--limit", type=int, default=1000, metavar="N", help="largest number of images to use (default: %(default)s)")
    add("--seed", type=int, default=0, help="another seed draws other images (default: %(default)s)")
    add("--groups", metavar="REGEX", help="what the names of a series have in common; see the output")
    add("--weights", default="imagenet", help="imagenet, embedded, random or FILE.h5 (default: %(default)s)")
    add("--alpha", type=float, nargs="+", help=f"widths (default: {ALPHAS}; for a file: {ALPHAS[0]})")
    add("--input-size", type=int, nargs="+", help=f"sides in pixels (default: {IMAGENET_SIZES})")
    add("--margin", type=float, default=0.01, help="loss that would not matter (default: %(default)s)")
    options = command_line.parse_args(arguments)
    try:
        with bench("tradeoff", options) as findings:
            run(options, findings)
    except (JobError, OSError, re.error) as error:
        die(str(error))


def run(options: argparse.Namespace, findings: Bench) -> None:
    """Time the networks in turn on the sample and report."""
    images = labeled_set(options, findings)
    networks = extractors(options)
    for (_, size), extractor in networks.items():
        extract_all(extractor, images.paths[:10], size)  # the first images take longer
    features: dict[Network, NDArray[np.float32]] = {}

    def time_network(network: Network) -> float:
        def extract() -> None:
            features[network] = extract_all(networks[network], images.paths, network[1])

        return timed(extract)

    names = {f"alpha {alpha:g} at {size}": (alpha, size) for alpha, size in networks}
    contenders = {name: (lambda network=network: time_network(network)) for name, network in names.items()}
    count = len(images.paths)
    medians = findings.compare("one process, decoding and inference", contenders, options.rounds, count)
    rates = {network: count / medians[name] for name, network in names.items()}
    in_order = {network: features[network] for network in networks}
    report(compare(in_order, rates, images, options.margin), options, findings)


if __name__ == "__main__":
    main()

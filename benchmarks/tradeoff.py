"""What resolution and width buy: labelled pictures in, speed, cost and nearest neighbours of each network out.

python -m benchmarks.tradeoff --images DIR, where a picture's label is its parent folder's name. One process decodes and
infers a sample of the pictures as the job does, the networks taking turns.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import neighbours
from benchmarks.harness import Bench, bench, die, parser, timed
from benchmarks.inputs import INPUTS, random_model
from benchmarks.labeled_sets import Sample, sample
from benchmarks.neighbours import Interval
from bootstrap.model import EMBEDDED_FOLDER, IMAGENET_SIZES, ModelSpec, make
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from job.features.silenced import silenced
from job.images.decode import decode
from submit import cost

Network = tuple[float, int]  # alpha, and the input's side in pixels

MILLION = 1_000_000
NEIGHBOURS = 10
ALPHAS = (1.0, 0.75, 0.5, 0.35)
DEFINITIONS = """right: share of the pictures whose nearest neighbour by cosine, among all others{beyond}, has their \
label, with Wilson's 95 % interval.
same: mean share of a picture's {near} nearest neighbours that are those of the reference, the first line.
not worse: on the same pictures, the 95 % interval of the difference in right (Bonett and Price 2012) reaches 0, \
and stays above -{margin:g}.
Pictures of one thing are like each other, so that the intervals are narrower than for as many things; with --groups, \
neighbours are sought beyond a series of them.
a million: USD by submit/cost.py, all that a run does included; python -m submit cost says what it assumes."""


@dataclass(frozen=True)
class Row:
    """What is told of one network; `rate` in pictures a second of a core, `usd` for a million pictures."""

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
        told = f"{self.alpha:5g} {self.input_size:5} {self.rate:11,.0f} {self.usd:10.2f}   {self.right!s:24}"
        change = f"{self.difference.low:+.3f} to {self.difference.high:+.3f}"
        return f"{told} {self.same:5.2f}   {change:18} {'yes' if self.not_worse else 'no'}"


HEADER = "alpha  size    a second  a million   right                     same   difference         not worse"


def extractors(options: argparse.Namespace) -> dict[Network, FeatureExtractor]:
    """Return the networks by alpha and input size, the largest, which is the reference, first."""
    weights = options.weights
    if weights == "embedded":
        if options.alpha or options.input_size:
            raise JobError("the embedded weights are of one width and size: leave out --alpha and --input-size")
        folders = [EMBEDDED_FOLDER]
    else:
        alphas = options.alpha or (ALPHAS if weights in ("imagenet", "random") else ALPHAS[:1])
        wanted = {(alpha, size) for alpha in alphas for size in options.input_size or IMAGENET_SIZES}
        folders = [_network(weights, *one) for one in sorted(wanted, reverse=True)]
    loaded = {}
    for folder in folders:
        model = read_model(str(folder))
        with silenced():  # LiteRT names its delegate
            loaded[model.description.alpha, model.description.input_size] = FeatureExtractor(model)
    return loaded


def _network(weights: str, alpha: float, input_size: int) -> Path:
    if weights == "random":
        return random_model(alpha, input_size)
    folder = INPUTS / f"tradeoff-{Path(weights).name}-{alpha:g}-{input_size}"
    make(ModelSpec(weights, alpha, input_size), folder)
    return folder


def embed(extractor: FeatureExtractor, paths: Sequence[Path], input_size: int) -> NDArray[np.float32]:
    """Return the features [n, d] of pictures, read, decoded and inferred as the job does."""
    return np.stack([extractor.extract(decode(path.read_bytes(), input_size).pixels) for path in paths])


def judge(
    features: dict[Network, NDArray[np.float32]],
    rates: dict[Network, float],
    chosen: Sample,
    margin: float,
) -> list[Row]:
    """Return the table: a row for each network, in the order given, the first being the reference."""
    near = {one: neighbours.nearest(found, chosen.groups, NEIGHBOURS) for one, found in features.items()}
    right = {one: chosen.labels[found[:, 0]] == chosen.labels for one, found in near.items()}
    first = next(iter(features))
    rows = []
    for one in features:
        change = neighbours.difference(right[one], right[first])
        usd = cost.estimate(MILLION, rates[one]).usd
        same = neighbours.overlap(near[one], near[first])
        passes = one == first or not_worse(change, margin)
        rows.append(Row(*one, rates[one], usd, neighbours.share(right[one]), same, change, passes))
    return rows


def not_worse(change: Interval, margin: float) -> bool:
    """Return whether a difference from the reference is neither shown to be a loss nor may be one beyond a margin."""
    return change.high >= 0 and change.low > -margin


def cheapest(rows: Sequence[Row]) -> Row:
    """Return the cheapest network that is not worse than the reference; where they cost the same, the first."""
    return min((row for row in rows if row.not_worse), key=lambda row: row.usd)


def report(rows: Sequence[Row], options: argparse.Namespace, found: Bench) -> None:
    """Say the table, what its columns mean, and which network is the cheapest that will do."""
    beyond = f" of another group ({options.groups})" if options.groups is not None else ""
    found.say("\n".join([HEADER, *map(str, rows)]))
    found.say(DEFINITIONS.format(beyond=beyond, near=NEIGHBOURS, margin=options.margin))
    found.tables.append({"title": "trade-off", "rows": [asdict(row) for row in rows]})
    if options.weights == "random":
        found.say("The weights are random: only speed and cost mean anything.")
        return
    if rows[0].difference.low <= -options.margin:
        found.say(f"So few pictures cannot show a loss of less than {-rows[0].difference.low:.3f}: give more.")
    best = cheapest(rows)
    found.claim(
        f"what the reference costs, against alpha {best.alpha:g} at {best.input_size}: the cheapest that is not worse",
        rows[0].usd / best.usd,
    )


def main() -> None:
    """Run the command."""
    told = parser("tradeoff", __doc__)
    told.add_argument("--images", type=Path, required=True, help="folder with a folder of pictures for each label")
    told.add_argument("--pictures", type=int, default=1000, help="at most so many of them (default: %(default)s)")
    told.add_argument("--seed", type=int, default=0, help="another seed draws others (default: %(default)s)")
    told.add_argument("--groups", metavar="REGEX", help="what the names of a series have in common; see the output")
    told.add_argument("--weights", default="imagenet", help="imagenet, embedded, random, FILE.h5 (default: imagenet)")
    told.add_argument("--alpha", type=float, nargs="+", help=f"widths (default: {ALPHAS}; of a file: {ALPHAS[0]})")
    told.add_argument("--input-size", type=int, nargs="+", help=f"sides (default: {IMAGENET_SIZES})")
    told.add_argument("--margin", type=float, default=0.01, help="loss that would not matter (default: %(default)s)")
    options = told.parse_args()
    try:
        with bench("tradeoff", options) as found:
            run(options, found)
    except (JobError, OSError, re.error) as error:
        die(str(error))


def run(options: argparse.Namespace, found: Bench) -> None:
    """Time the networks in turn on the sample and report."""
    chosen = sample(options, found)
    networks = extractors(options)
    for (_, size), extractor in networks.items():
        embed(extractor, chosen.paths[:10], size)  # its first pictures take longer
    features: dict[Network, NDArray[np.float32]] = {}

    def go(one: Network) -> float:
        def work() -> None:
            features[one] = embed(networks[one], chosen.paths, one[1])

        return timed(work)

    names = {f"alpha {alpha:g} at {size}": (alpha, size) for alpha, size in networks}
    contenders = {name: (lambda one=one: go(one)) for name, one in names.items()}
    count = len(chosen.paths)
    medians = found.compare("one process, decoding and inference", contenders, options.rounds, count)
    rates = {one: count / medians[name] for name, one in names.items()}
    report(judge({one: features[one] for one in networks}, rates, chosen, options.margin), options, found)


if __name__ == "__main__":
    main()

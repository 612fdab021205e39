"""How often lookup names fruit rightly that it has seen from other sides: python -m benchmarks.naming [--weights FILE].

Sixty rendered fruits that nothing was trained on, in fifteen families of four that differ in one group of traits: a run
on views of each turning about one axis, then the question for views about another axis, under another light. Beside a
plain nearest neighbour on the features, one on colours alone, and a logistic regression on what lookup compares.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

from benchmarks.features import session
from benchmarks.harness import bench, parser
from benchmarks.latency import vectors
from bootstrap.embedded import orchard
from bootstrap.model import ModelSpec, make
from job.curation.intervals import wilson
from job.features.silenced import silenced
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from lookup.classifier import Classifier
from lookup.embed import Embedder

_BINS = 8  # of each colour
Features = NDArray[np.float64]
Labels = NDArray[np.str_]


def render(folder: Path, fruits: int, plain: int, other: int) -> None:
    """Write the pictures: `known/<fruit>/…jpg` about one axis, `asked/<fruit>/…jpg` about another."""
    for fruit in range(orchard.UNSEEN, orchard.UNSEEN + fruits):
        for kind, pictures in zip(("known", "asked"), orchard.turntables(fruit, plain, other), strict=True):
            place = folder / kind / str(fruit)
            place.mkdir(parents=True)
            for number, picture in enumerate(pictures):
                Image.fromarray(picture).save(place / f"{number:03d}.jpg", quality=92)


def colours(paths: list[Path]) -> Features:
    """Return the square roots of the pictures' shares of each colour [n, 512]: their products compare histograms."""
    rows = []
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) // (256 // _BINS)
        counts = np.bincount(pixels @ np.array([_BINS * _BINS, _BINS, 1]), minlength=_BINS**3)
        rows.append(np.sqrt(counts / counts.sum()))
    return np.array(rows)


def nearest(known: Features, labels: Labels, asked: Features) -> Labels:
    """Return the labels of the nearest by cosine."""
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (known, asked)]
    named: Labels = labels[(unit[1] @ unit[0].T).argmax(axis=1)]
    return named


def main() -> None:
    """Run the command."""
    told = parser("naming", __doc__, rounds=1)
    told.add_argument("--weights", default="embedded", help="embedded, imagenet or a file (default: %(default)s)")
    told.add_argument("--alpha", type=float, help="of the weights in a file or of imagenet's")
    told.add_argument("--fruits", type=int, default=60, help="(default: %(default)s)")
    options = told.parse_args()
    with bench("naming", options) as found, tempfile.TemporaryDirectory() as name, session(Path(name)) as spark:
        folder, model = Path(name), Path(name, "model")
        with silenced():
            make(ModelSpec(options.weights, alpha=options.alpha), model)
        render(folder, options.fruits, 60, 16)
        for kind in ("known", "asked"):
            settings = Settings(images=str(folder / kind), model=str(model), output=str(folder / f"{kind}-results"))
            featurize(spark, settings)
        reduce(spark, Settings(output=str(folder / "known-results"), report=False))

        known, asked = (sorted((folder / kind).glob("*/*.jpg")) for kind in ("known", "asked"))
        labels, right = (np.array([path.parent.name for path in paths]) for paths in (known, asked))
        seen, shown = (vectors(str(folder / f"{kind}-results"), "").astype(float) for kind in ("known", "asked"))
        classifier = Classifier(str(folder / "known-results"))
        with Embedder(classifier.pipeline) as embedder:
            points = [embedder.embed(path.read_bytes()) for path in asked]
        answers = classifier.classify(points, 1)
        index = classifier.index
        k, places = index.description.components, np.concatenate(index.blocks)
        spread = np.repeat([places[:, :k].std(), places[:, k:].std()], [k, places.shape[1] - k])
        linear = LogisticRegression(max_iter=300).fit(places / spread, np.array(index.names)[index.labels])
        asked_places = np.stack([point.coordinates for point in points])
        named = {
            "lookup classify": np.array([answer.label or "" for answer in answers]),
            "nearest by features": nearest(seen, labels, shown),
            "nearest by colours": nearest(colours(known), labels, colours(asked)),
            "logistic regression": linear.predict(asked_places / spread),
        }
        found.say(f"{options.fruits} fruits, {len(known):,} views known, {len(asked):,} about another axis asked")
        for way, names in named.items():
            share = wilson(int((names == right).sum()), len(right))
            found.say(f"  {way:<22} {share.value:.3f} ({share.low:.3f}-{share.high:.3f}) right")
            found.claim(f"{way}: right", share.value, unit="")
        found.claim("unknown, of pictures of known fruit", float(np.mean(named["lookup classify"] == "")), unit="")


if __name__ == "__main__":
    main()

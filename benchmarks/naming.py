"""How often lookup names fruit that it has seen from other sides: python -m benchmarks.naming [--weights FILE].

Sixty rendered fruits that no model was trained on, in fifteen families of four that differ in one group of traits. The
run has views of each fruit turning about one axis; the queries are views about another axis, in another light. Beside
lookup: the nearest neighbor by features, by colors, and a logistic regression on the coordinates that lookup compares.
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
from lookup.embed import Embedder, Embedding

_BINS = 8  # of each color channel
VIEWS, QUERY_VIEWS = 60, 16  # of each fruit
Features = NDArray[np.float64]
Labels = NDArray[np.str_]


def render(folder: Path, fruits: int) -> None:
    """Write the images: `known/<fruit>/…jpg` about one axis, `queries/<fruit>/…jpg` about another."""
    for fruit in range(orchard.UNSEEN, orchard.UNSEEN + fruits):
        turntables = orchard.turntables(fruit, VIEWS, QUERY_VIEWS)
        for kind, images in zip(("known", "queries"), turntables, strict=True):
            label_folder = folder / kind / str(fruit)
            label_folder.mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(label_folder / f"{number:03d}.jpg", quality=92)


def color_features(paths: list[Path]) -> Features:
    """Return the square roots of the shares of colors, shape (n, 512): their products compare histograms."""
    rows = []
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) // (256 // _BINS)
        counts = np.bincount(pixels @ np.array([_BINS * _BINS, _BINS, 1]), minlength=_BINS**3)
        rows.append(np.sqrt(counts / counts.sum()))
    return np.array(rows)


def nearest_label(known: Features, labels: Labels, queries: Features) -> Labels:
    """Return the label, shape (q,), of the nearest known image by cosine."""
    known, queries = (features / np.linalg.norm(features, axis=1, keepdims=True) for features in (known, queries))
    named: Labels = labels[(queries @ known.T).argmax(axis=1)]
    return named


def linear_label(classifier: Classifier, embeddings: list[Embedding]) -> Labels:
    """Return the label, shape (q,), by a logistic regression on the coordinates of the index."""
    index = classifier.index
    k, coordinates = index.description.components, np.concatenate(index.blocks)
    # Components and colors weigh the same.
    scale = np.repeat([coordinates[:, :k].std(), coordinates[:, k:].std()], [k, coordinates.shape[1] - k])
    model = LogisticRegression(max_iter=300).fit(coordinates / scale, np.array(index.names)[index.labels])
    named: Labels = model.predict(np.stack([embedding.coordinates for embedding in embeddings]) / scale)
    return named


def name_queries(folder: Path, known: list[Path], queries: list[Path]) -> dict[str, Labels]:
    """Return the labels, shape (q,), that each method gives the queries; empty for unknown."""
    labels = np.array([path.parent.name for path in known])
    features, query_features = (
        vectors(str(folder / f"{kind}-results"), "").astype(float) for kind in ("known", "queries")
    )
    classifier = Classifier(str(folder / "known-results"))
    with Embedder(classifier.pipeline) as embedder:
        embeddings = [embedder.embed(path.read_bytes()) for path in queries]
    predictions = classifier.classify(embeddings, 1)
    return {
        "lookup classify": np.array([prediction.label or "" for prediction in predictions]),
        "nearest by features": nearest_label(features, labels, query_features),
        "nearest by colors": nearest_label(color_features(known), labels, color_features(queries)),
        "logistic regression": linear_label(classifier, embeddings),
    }


def main() -> None:
    """Run the command."""
    command_line = parser("naming", __doc__, rounds=1)
    command_line.add_argument("--weights", default="embedded", help="embedded, imagenet or FILE (default: %(default)s)")
    command_line.add_argument("--alpha", type=float, help="width of imagenet's weights or of those in a file")
    command_line.add_argument("--fruits", type=int, default=60, help="number of fruits (default: %(default)s)")
    options = command_line.parse_args()
    with bench("naming", options) as findings, tempfile.TemporaryDirectory() as name, session(Path(name)) as spark:
        folder, model = Path(name), Path(name, "model")
        with silenced():
            make(ModelSpec(options.weights, alpha=options.alpha), model)
        render(folder, options.fruits)
        for kind in ("known", "queries"):
            settings = Settings(images=str(folder / kind), model=str(model), output=str(folder / f"{kind}-results"))
            featurize(spark, settings)
        reduce(spark, Settings(output=str(folder / "known-results"), report=False))

        known, queries = (sorted((folder / kind).glob("*/*.jpg")) for kind in ("known", "queries"))
        truth = np.array([path.parent.name for path in queries])
        named = name_queries(folder, known, queries)
        findings.say(
            f"{options.fruits} fruits, {len(known):,} views known, {len(queries):,} about another axis to name"
        )
        for method, names in named.items():
            share = wilson(int((names == truth).sum()), len(truth))
            findings.say(f"  {method:<22} {share.value:.3f} ({share.low:.3f}-{share.high:.3f}) right")
            findings.claim(f"{method}: right", share.value, unit="")
        findings.claim("unknown, of images of known fruit", float(np.mean(named["lookup classify"] == "")), unit="")


if __name__ == "__main__":
    main()

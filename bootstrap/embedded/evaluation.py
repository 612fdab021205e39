"""How well features distinguish fruit: rendered fruit that training never saw, and the 496 real images."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bootstrap.embedded import orchard

Features = NDArray[np.float32]
Embed = Callable[[Sequence[bytes]], Features]


def nearest_is_right(
    gallery: Features, gallery_labels: Sequence[str], queries: Features, labels: Sequence[str]
) -> float:
    """Return the share of query images whose nearest neighbor by cosine in a gallery has their label.

    Parameters
    ----------
    gallery, queries : float32 array, shapes (m, d) and (n, d)
        Features.
    gallery_labels, labels : sequences of str, lengths m and n
        What they show.
    """
    best = (_unit(queries) @ _unit(gallery).T).argmax(1)
    return float(np.mean(np.asarray(gallery_labels)[best] == np.asarray(labels)))


def leave_one_out(features: Features, labels: Sequence[str]) -> float:
    """Return the share of images whose nearest neighbor by cosine has their label; features (n, d)."""
    unit = _unit(features)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    known = np.asarray(labels)
    return float(np.mean(known[similarity.argmax(1)] == known))


def components(features: Features, count: int) -> Features:
    """Project features (n, d) on their first principal components, centered; shape (n, count)."""
    centered = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    left, size, _ = np.linalg.svd(centered, full_matrices=False)
    return np.asarray(left[:, :count] * size[:count], np.float32)


def rendered_figures(embed: Embed, fruits: int = 300, plain: int = 12, other: int = 8) -> dict[str, float]:
    """Return figures on rendered fruit that training never saw: close relatives, then fruits of as many families.

    Parameters
    ----------
    embed : callable
        Encoded images to features (n, d).
    fruits, plain, other : int
        How many fruits, and how many views of each about one axis and about another.
    """
    relatives = range(orchard.UNSEEN, orchard.UNSEEN + fruits // orchard.FAMILY * orchard.FAMILY)
    strangers = range(relatives.stop, relatives.stop + fruits * orchard.FAMILY, orchard.FAMILY)
    figures: dict[str, float] = {}
    for name, numbers in (("relatives", relatives), ("strangers", strangers)):
        sets = [orchard.turntables(number, plain, other) for number in numbers]
        gallery = embed([_jpeg(image) for first, _ in sets for image in first])
        queries = embed([_jpeg(image) for _, second in sets for image in second])
        known = [str(number) for number in numbers for _ in range(plain)]
        labels = [str(number) for number in numbers for _ in range(other)]
        # As the views 0 to 99 of about 330 are for the real ones.
        third = np.tile(np.arange(plain) < plain // 3, len(numbers))
        first, rest = np.flatnonzero(third), np.flatnonzero(~third)
        figures |= {
            f"{len(numbers)} rendered {name}, plain views, leave-one-out": leave_one_out(gallery, known),
            f"{len(numbers)} rendered {name}, other axis to plain views": nearest_is_right(
                gallery, known, queries, labels
            ),
            f"{len(numbers)} rendered {name}, a third of the turn to all others": nearest_is_right(
                gallery[first],
                [known[i] for i in first],
                np.vstack([gallery[rest], queries]),
                [known[i] for i in rest] + labels,
            ),
        }
    return figures


def real_figures(embed: Embed, folder: Path) -> dict[str, float]:
    """Return figures on the 496 real images (one folder a label, `r_` in the names of the second turn).

    Parameters
    ----------
    embed : callable
        Encoded images to features (n, d).
    folder : Path
        Holds one folder a label.
    """
    files = sorted(folder.glob("*/*.jpg"))
    labels = [file.parent.name for file in files]
    features = embed([file.read_bytes() for file in files])
    known = [not file.name.startswith("r_") and int(file.name.split("_")[0]) < 100 for file in files]
    inside, outside = np.flatnonzero(known), np.flatnonzero(~np.array(known))
    return {
        "real, leave-one-out, features": leave_one_out(features, labels),
        "real, leave-one-out, 50 components": leave_one_out(components(features, 50), labels),
        "real, views 0-99 to all others": nearest_is_right(
            features[inside], [labels[i] for i in inside], features[outside], [labels[i] for i in outside]
        ),
    }


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92)
    return file.getvalue()


def _unit(features: Features) -> Features:
    length = np.sqrt((features**2).sum(1, keepdims=True))
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)

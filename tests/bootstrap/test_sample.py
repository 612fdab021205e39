"""The sample: complete, labelled, repeatable, and never half there."""

import hashlib
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bootstrap import sample
from job.errors import JobError
from tests.bootstrap.conftest import Sample


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.jpg")}


def test_images_labels_and_repeatability(sample_images: Sample, tmp_path: Path) -> None:
    assert sample.write(tmp_path / "a")
    # Rendered by another call; only the check of what is there renders one more.
    assert sample.write(tmp_path / "deep" / "b", render=lambda *_: iter(sample_images))
    found = digests(tmp_path / "a")
    assert found == digests(tmp_path / "deep" / "b")
    assert len(found) == len(set(found.values())) == 360
    labels = {name.split("/")[0] for name in found}
    assert len(labels) == 12
    for name in found:
        with Image.open(tmp_path / "a" / name) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (100, 100), "RGB")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "deep"]


# Four sides of one fruit a label, for what does not hang on the number.
write_small = partial(sample.write, fruits=1, sides=4)


def test_second_call_touches_nothing(tmp_path: Path) -> None:
    write_small(tmp_path / "a")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    assert not write_small(tmp_path / "a")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}


def test_incomplete_or_older_sample_is_made_anew(tmp_path: Path) -> None:
    write_small(tmp_path)
    whole = digests(tmp_path)
    (tmp_path / "Banana" / "03.jpg").unlink()
    assert write_small(tmp_path)
    first = min(whole)
    (tmp_path / first).write_bytes(b"from an older renderer")
    assert write_small(tmp_path)
    assert digests(tmp_path) == whole


def test_interrupted_render_leaves_nothing(tmp_path: Path) -> None:
    def broken(fruits: int, sides: int) -> Iterator[tuple[str, bytes]]:
        yield "Banana/00.jpg", b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.write(tmp_path / "a", render=broken)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_files_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"dear to someone")
    with pytest.raises(JobError, match=r"holiday\.jpg: choose another --output"):
        sample.write(tmp_path)
    assert sample.main(["--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "holiday.jpg").read_bytes() == b"dear to someone"


def test_labels_can_be_told_apart_by_their_looks(sample_images: Sample) -> None:
    """Mean color and outline name most images' labels; shuffled labels would reach one in twelve."""
    looks, labels = [], []
    for name, data in sample_images:
        small = np.asarray(Image.open(io.BytesIO(data)).resize((10, 10)), np.float64)
        looks.append(np.concatenate([small.mean((0, 1)), small.std((0, 1)), small[3:7, 3:7].mean((0, 1))]))
        labels.append(name.split("/")[0])
    features = np.array(looks)
    distance = ((features[:, None] - features) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    right = np.mean(np.array(labels)[distance.argmin(1)] == np.array(labels))
    assert right > 0.7

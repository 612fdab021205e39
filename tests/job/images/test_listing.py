"""The parts of a listing: their size and their order."""

import zlib
from pathlib import Path

import pyarrow.parquet as pq

from job.images.listing import ListedImage, write_parts
from job.images.unlisted_folders import UnlistedFolders
from tests.job.images.listings import rows


def test_parts_are_bounded_and_in_the_order_of_a_hash_of_the_path(tmp_path: Path) -> None:
    images = [ListedImage(f"/images/{label}/{i:03d}.jpg", label, i, i, None) for label in "ab" for i in range(50)]
    found = write_parts(images, str(tmp_path / "part"), rows=40)
    assert [part.rows for part in found.parts] == [40, 40, 20]
    assert sorted(row["path"] for row in rows(found)) == sorted(image.path for image in images)
    for part in found.parts:
        paths = pq.read_table(part.address).column("path").to_pylist()
        assert [zlib.crc32(path.encode()) for path in paths] == sorted(zlib.crc32(path.encode()) for path in paths)
        assert paths != sorted(paths)
    assert found.labels.by_label == {"a": 50, "b": 50}


def test_of_folders_that_may_not_be_listed_all_are_counted_and_the_first_named() -> None:
    each = [UnlistedFolders(1, (f"/images/{i:03d}",)) for i in range(500)]
    assert sum(reversed(each), UnlistedFolders()) == UnlistedFolders(500, tuple(f"/images/{i:03d}" for i in range(20)))

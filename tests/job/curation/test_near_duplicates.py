"""Near-duplicates by bytes and by brightness."""

import numpy as np

from job.curation.knn import nearest
from job.curation.near_duplicates import SAME_BYTES, SAME_IMAGE, near_duplicates


def test_near_duplicates_have_the_same_bytes_or_nearly_the_same_brightness() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    rng = np.random.default_rng(3)
    with_copies = np.concatenate([vectors, vectors[:4] + np.float32(0.01)])
    cells = rng.uniform(0, 255, (54, 24, 24)).astype(np.float32)
    cells[50:] = cells[:4]
    cells[51, 3, 3] += 3  # one cell
    cells[52, 3, 3] += 5
    cells[53] = np.nan  # could not be fetched
    digests = [bytes([number]) for number in range(54)]
    digests[50] = digests[0]
    digests[53] = digests[3] = b""
    found = near_duplicates(nearest(with_copies, 20), cells, digests)
    assert [(pair.first, pair.second, pair.kind) for pair in found] == [(0, 50, SAME_BYTES), (1, 51, SAME_IMAGE)]
    np.testing.assert_allclose([pair.difference for pair in found], [0, 3], atol=1e-4)


def test_files_of_the_same_bytes_are_found_however_many_there_are() -> None:
    vectors = np.zeros((60, 2))
    found = near_duplicates(nearest(vectors, 20), np.zeros((60, 24, 24), np.float32), [b"x"] * 60)
    assert {(pair.first, pair.second) for pair in found} == {(0, number) for number in range(1, 60)}

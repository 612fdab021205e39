"""A basis on disk: written once, read back, and refused where it is gone or damaged."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from job.errors import JobError
from job.pca.basis import Moments, fit
from job.pca.basis_file import read_basis, write_basis


def test_a_basis_is_read_back_from_where_it_was_written(tmp_path: Path) -> None:
    basis = fit(Moments.of(np.random.default_rng(0).normal(size=(9, 4))), 2, None, "a model", {"components": 2})
    address = tmp_path / "run=1" / "basis.npz"
    assert write_basis(str(address), basis) == hashlib.sha256(address.read_bytes()).hexdigest()
    assert read_basis(str(address)).to_bytes() == basis.to_bytes()
    assert read_basis(str(address)) is read_basis(str(address))


def test_a_basis_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    address, moments = str(tmp_path / "basis.npz"), Moments.of(np.random.default_rng(0).normal(size=(9, 4)))
    for components in (1, 2):
        write_basis(address, fit(moments, components, None, "a model", {}))
        assert len(read_basis(address).components) == components


def test_a_basis_that_is_gone_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=rf"^no basis at {tmp_path}/basis\.npz$"):
        read_basis(str(tmp_path / "basis.npz"))
    (tmp_path / "basis.npz").write_bytes(b"no basis")
    with pytest.raises(JobError, match=rf"^{tmp_path}/basis\.npz is damaged: "):
        read_basis(str(tmp_path / "basis.npz"))

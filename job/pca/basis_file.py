"""A saved basis, `pca_model/run=<id>/basis.npz`: written once, read once a process."""

import hashlib
from functools import cache

from job import storage
from job.errors import JobError
from job.pca.basis import Basis

BASIS = "basis.npz"


def write_basis(address: str, basis: Basis) -> str:
    """Write a basis; return the hexadecimal SHA-256 of the file."""
    data = basis.to_bytes()
    storage.write(address, data)
    return hashlib.sha256(data).hexdigest()


@cache
def read_basis(address: str) -> Basis:
    """Read a saved basis; raises `JobError` where it is gone or damaged."""
    try:
        return Basis.from_bytes(storage.read(address), address)
    except FileNotFoundError:
        raise JobError(f"no basis at {address}") from None

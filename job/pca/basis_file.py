"""A saved basis, `pca_model/run=<id>/basis.npz`: written once, read once a process."""

import hashlib
from functools import lru_cache

from job import storage
from job.errors import JobError
from job.pca.basis import Basis

BASIS = "basis.npz"


def write_basis(address: str, basis: Basis) -> str:
    """Write a basis; return the hexadecimal SHA-256 of the file."""
    data = basis.to_bytes()
    storage.write(address, data)
    return hashlib.sha256(data).hexdigest()


def read_basis(address: str) -> Basis:
    """Read a saved basis, once a process and version of the file; raises `JobError` where it is gone or damaged."""
    try:
        return _read(storage.stat(address))
    except FileNotFoundError:
        raise JobError(f"no basis at {address}") from None


@lru_cache(4)
def _read(entry: storage.Entry) -> Basis:
    return Basis.from_bytes(storage.read(entry.address), entry.address)

"""A saved basis: `pca_model/run=<id>/basis.npz` in, a `Basis` out, read once a process."""

from functools import cache

from job import storage
from job.errors import JobError
from job.pca.basis import Basis

BASIS = "basis.npz"


@cache
def read_basis(address: str) -> Basis:
    """Read a saved basis; raises `JobError` where it is gone or damaged."""
    try:
        return Basis.from_bytes(storage.read(address), address)
    except FileNotFoundError:
        raise JobError(f"no basis at {address}") from None

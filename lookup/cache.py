"""The cache of this user: copies and derived files that can be made again, one folder for each kind and address."""

import os
from hashlib import sha256
from pathlib import Path


def cache_folder(kind: str, address: str) -> Path:
    """Return this user's folder for one kind of file of an address; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "fruits", kind, sha256(address.encode()).hexdigest()[:16])

"""One child of a folder or prefix: its address and what a listing says about it."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One child of a folder or prefix.

    Attributes
    ----------
    address : str
        Local path (undecodable bytes as surrogates, as Python has them) or `s3://` address.
    is_folder : bool
        Whether it can be scanned in turn; `length` and `modified` are then 0.
    length : int
        Bytes.
    modified : int
        Microseconds since 1970 UTC.
    etag : str or None
        The entity tag of an object on S3, which differs for every content; None on a disk.
    """

    address: str
    is_folder: bool
    length: int = 0
    modified: int = 0
    etag: str | None = None

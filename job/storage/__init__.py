"""Files and objects by address: a local path and `s3://bucket/key` are interchangeable.

`from job import storage` and then `storage.read(address)`: these names are the room's interface. `files` chooses
between `local` and `objects`; only `objects` and the two `s3` modules know the service.
"""

from job.storage.address import absolute, is_s3, join, name, split_s3, text
from job.storage.entry import Entry
from job.storage.files import (
    create,
    exists,
    fetch,
    is_loop,
    open_input,
    read,
    remove,
    scan,
    show,
    stat,
    walk,
    write,
)
from job.storage.name_range import ALL_NAMES, NameRange
from job.storage.objects import divide, in_order, read_tagged, write_if
from job.storage.s3_errors import CredentialsError

__all__ = [
    "ALL_NAMES",
    "CredentialsError",
    "Entry",
    "NameRange",
    "absolute",
    "create",
    "divide",
    "exists",
    "fetch",
    "in_order",
    "is_loop",
    "is_s3",
    "join",
    "name",
    "open_input",
    "read",
    "read_tagged",
    "remove",
    "scan",
    "show",
    "split_s3",
    "stat",
    "text",
    "walk",
    "write",
    "write_if",
]

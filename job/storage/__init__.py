"""Files and objects by address: a local path and `s3://bucket/key` are interchangeable.

`from job import storage` and then `storage.read(address)`: these names are the room's interface, `address` is behind
them, and only `s3` knows the service.
"""

from job.storage.address import (
    Entry,
    absolute,
    create,
    exists,
    fetch,
    is_s3,
    join,
    name,
    open_input,
    read,
    read_tagged,
    remove,
    scan,
    split_s3,
    stat,
    text,
    write,
    write_if,
)

__all__ = [
    "Entry",
    "absolute",
    "create",
    "exists",
    "fetch",
    "is_s3",
    "join",
    "name",
    "open_input",
    "read",
    "read_tagged",
    "remove",
    "scan",
    "split_s3",
    "stat",
    "text",
    "write",
    "write_if",
]

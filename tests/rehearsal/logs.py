"""A run's logs on S3, in EMR's layout: files of a working folder in, gzipped objects out."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class LogError(Exception):
    """The logs cannot be written; what the service says of it."""


class Logs:
    """Puts what the driver and the executors have said so far, each file whole, as EMR does every few seconds.

    Where EMR is refused its logs, it is not known whether it goes on without them; here the run fails, as nobody could
    tell what it did.
    """

    def __init__(self, s3: Any, address: str, files: Callable[[Path], Iterator[tuple[str, Path]]]) -> None:
        """Name the place, an `s3://` address with a slash at its end, and what puts which files of a folder there."""
        self._s3 = s3
        self._bucket, _, self._prefix = address.removeprefix("s3://").partition("/")
        self._files = files
        self._sent: dict[str, int] = {}

    def put(self, folder: Path) -> None:
        """Put each log that has grown; raises `LogError`."""
        for name, path in self._files(folder):
            content = path.read_bytes()
            if self._sent.get(name) == len(content):
                continue
            key = f"{self._prefix}{name}.gz"
            try:
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=gzip.compress(content, 5))
            except ClientError as error:
                raise LogError(
                    f"not authorized to write logs: s3:PutObject on s3://{self._bucket}/{key}: {error}"
                ) from None
            self._sent[name] = len(content)


def of_driver_and_executors(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what EMR Serverless keeps of a run."""
    for stream in ("stdout", "stderr"):
        yield f"SPARK_DRIVER/{stream}", folder / stream
        # Of local-cluster: a folder for the application, in it one for each executor.
        for path in sorted(folder.glob(f"spark/work/app-*/*/{stream}")):
            yield f"SPARK_EXECUTOR/{int(path.parent.name) + 1}/{stream}", path


def of_process(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what EMR on EC2 keeps of a step, or of a bootstrap action."""
    for stream in ("stdout", "stderr"):
        yield stream, folder / stream

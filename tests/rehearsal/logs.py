"""A run's logs on S3, in EMR Serverless's layout: files of a working folder in, gzipped objects out."""

import gzip
from collections.abc import Iterator
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

    def __init__(self, s3: Any, uri: str, application_id: str, run_id: str, attempt: int) -> None:
        """Name the place; the first attempt's logs have no number."""
        self._s3 = s3
        self._bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        attempts = f"attempts/{attempt}/" if attempt > 1 else ""
        self._prefix = f"{prefix.rstrip('/')}/applications/{application_id}/jobs/{run_id}/{attempts}"
        self._sent: dict[str, int] = {}

    def put(self, folder: Path) -> None:
        """Put each log that has grown; raises `LogError`."""
        for name, path in _logs(folder):
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


def _logs(folder: Path) -> Iterator[tuple[str, Path]]:
    for stream in ("stdout", "stderr"):
        yield f"SPARK_DRIVER/{stream}", folder / stream
        # Of local-cluster: a folder for the application, in it one for each executor.
        for path in sorted(folder.glob(f"spark/work/app-*/*/{stream}")):
            yield f"SPARK_EXECUTOR/{int(path.parent.name) + 1}/{stream}", path

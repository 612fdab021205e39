"""The log of a run's driver: objects of the log bucket in, the job's own lines out, each once.

EMR writes stdout and stderr of the driver as .gz files, and replaces each whole when it has grown. Between two looks a
file may be late, cut short, replaced by a newer one, or moved aside under a name that begins the same.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from job import storage
from submit.aws import explained
from submit.errors import UnavailableError

# How lines begin that are not the job's: log4j's layout, Java's stack traces, messages of the JVM and its libraries.
CHATTER = re.compile(
    r"""
    \d\d(\d\d)?[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d\S*\s.*\b(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b
    | \s+at\ [\w.$/<>]+\(
    | \s*\.{3}\ \d+\ (more|common\ frames)
    | (Caused\ by|Suppressed):\ [a-z]
    | (Exception\ in\ thread\ .*\ )?([a-z]\w*\.)+[A-Z]\w*(Exception|Error)\b
    | (WARNING|INFO|Warning|W\d{4}|I\d{4}|SLF4J\S*|log4j|::|Picked\ up|OpenJDK)(:|\s)
    | Using\ Spark's\ default | Setting\ default\ log\ level | To\ adjust\ logging\ level | Files?\ s3://
    | \[Stage\ \d
    """,
    re.X,
)
# How the last line of the job begins (`job/__main__.py`), after which nothing more comes.
LAST_LINES = {"FAILED": "error: ", "SUCCESS": "results in "}
# Lines to show of a run that failed without an error line of the job.
TAIL_LINES = 5


@dataclass
class _Stream:
    """One stream of one attempt: its files and lines when last read, and all lines that were shown."""

    files: frozenset[tuple[str, str]] = frozenset()
    latest: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def new(self, lines: list[str]) -> list[str]:
        """Return the lines after those that were shown, and count them as shown."""
        if lines == self.latest[: len(lines)]:  # nothing new, or cut short
            return []
        fresh = lines[_overlap(self.latest, lines) :]
        self.latest = lines
        self.shown += fresh
        return fresh


@dataclass
class DriverLog:
    """The driver's log of one run.

    `address` is the folder of all its logs, an `s3://` address with a slash at its end; `driver` is the folder below it
    of the driver's log, for attempts after the first below `attempts/N/`.
    """

    s3: Any
    address: str
    driver: str
    _streams: dict[tuple[str, str], _Stream] = field(default_factory=dict)

    def look(self, attempt: int = 1, *, ended: bool = False) -> list[str]:
        """Return the job's own lines that are new since the last look, of all attempts until now.

        Parameters
        ----------
        attempt : int
            The current attempt of the run.
        ended : bool
            Whether no more is expected; an unfinished last line counts then.

        Raises
        ------
        JobError
            Where the log may not be read, or AWS cannot be reached; the next look goes on from there.
        """
        folders = [f"attempts/{number}/{self.driver}" for number in range(2, attempt + 1)]
        return [line for folder in (self.driver, *folders) for line in self._look_into(folder, ended=ended)]

    def has_ended(self, state: str, attempt: int = 1) -> bool:
        """Whether the job's last line was seen, for a run that ended in this state at this attempt."""
        if state not in LAST_LINES:
            return True
        lines = [line for stream in self._streams.values() for line in stream.shown]
        found = sum(line.startswith(LAST_LINES[state]) for line in lines)
        return found >= (attempt if state == "FAILED" else 1)  # each failed attempt has an error line

    def why(self) -> list[str]:
        """Return why the job failed: its latest error, else the end of its output.

        On either stream: spark-submit passes all that Python writes to its standard output.
        """
        latest_first = [stream.shown for stream in reversed(self._streams.values()) if stream.shown]
        for lines in latest_first:
            errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
            if errors:
                return lines[errors[-1] :][:TAIL_LINES]
        return latest_first[0][-TAIL_LINES:] if latest_first else []

    def _look_into(self, folder: str, *, ended: bool) -> list[str]:
        bucket, prefix = storage.split_s3(f"{self.address}{folder}")
        with explained(self.address):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            found = [file for page in pages for file in page.get("Contents", [])]
            fresh = []
            for name in ("stderr", "stdout"):
                files = [file for file in found if re.fullmatch(rf"{name}.*\.gz", file["Key"].removeprefix(prefix))]
                stream = self._streams.setdefault((folder, name), _Stream())
                marks = frozenset((file["Key"], file["ETag"]) for file in files)
                if marks == stream.files and not ended:
                    continue
                # Those moved aside are older than the one that still grows.
                files.sort(key=lambda file: (file["Key"].endswith(f"/{name}.gz"), file["LastModified"], file["Key"]))
                text = b"".join(unzip(self._get(bucket, file["Key"])) for file in files)
                fresh += stream.new(own_lines(text, ended=ended))
                stream.files = marks
        return fresh

    def _get(self, bucket: str, key: str) -> bytes:
        try:
            return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            raise UnavailableError(f"s3://{bucket}/{key} was moved while it was read") from None


def unzip(content: bytes) -> bytes:
    """Return the content of a .gz file; of a truncated or damaged one, what comes before the fault."""
    text = b""
    while content:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text += member.decompress(content)
        except zlib.error:
            break
        content = member.unused_data
    return text


def own_lines(text: bytes, *, ended: bool = True) -> list[str]:
    r"""Return the job's own lines of a driver's output, without those of Spark and empty ones.

    Bytes that are not UTF-8 become `\xNN`, as do control characters, which a terminal would obey.
    """
    *lines, last = text.decode(errors="backslashreplace").replace("\r\n", "\n").split("\n")
    if ended:
        lines.append(last)
    readable = ("".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in line) for line in lines)
    return [line for line in readable if line.strip() and not CHATTER.match(line)]


def _overlap(before: Sequence[str], lines: Sequence[str]) -> int:
    """Return how many of the first lines repeat the last lines before."""
    longest = min(len(before), len(lines))
    return next((size for size in range(longest, 0, -1) if before[-size:] == lines[:size]), 0)

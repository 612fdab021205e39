"""Encoded bytes in, pixels out, within limits of time and memory: in this process, or in a child that may die of it.

A decoder is native code that reads unknown files. In this process (the first attempt of a task) an image that hangs or
crashes the decoder costs the process: Spark repeats the task, and its later attempts decode in a child. There an image
that crashes, hangs or takes too much memory costs only the child, and is rejected with its own reason.
"""

import faulthandler
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from job.compat import decode_avif_in_one_thread
from job.images.decode import DecodedImage, decode
from job.images.rejection import DECODER_CRASHED, OVER_MEMORY, OVER_TIME, Rejected

# The child ends itself when its time is over; if it cannot even do that, it is killed this much later.
GRACE_SECONDS = 5.0

# The program of a child. It finds this package where its parent does, in the zip that Spark has shipped if need be.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from job.images.sandbox import serve; serve()"

_HEAD = struct.Struct(">Q")


@dataclass(frozen=True)
class DecodeOptions:
    """How images are decoded.

    Attributes
    ----------
    input_size : int
        Side of the square that the network takes, in pixels.
    mode : {"fast", "exact"}
        As for `decode`.
    max_pixels : int
        Images with more pixels are rejected before they are decoded.
    seconds : float
        Time to decode one image.
    memory_bytes : int
        Address space to decode one image in, beyond the process's own.
    """

    input_size: int
    mode: str
    max_pixels: int
    seconds: float
    memory_bytes: int

    def bound(self, reason: str) -> float | None:
        """Return the limit that an image rejected for this reason was over, in seconds or bytes; None for others."""
        return {OVER_TIME: self.seconds, OVER_MEMORY: float(self.memory_bytes)}.get(reason)

    def decode(self, data: bytes) -> DecodedImage:
        """Decode without limits; raises `Rejected` and MemoryError."""
        return decode(data, self.input_size, self.mode, self.max_pixels)


class Decoder:
    """Decodes images one after the other; to be closed, or used in a `with` statement. Its `options` stay.

    Parameters
    ----------
    options : DecodeOptions
        How, and within which limits.
    isolated : bool
        Whether to decode in a child process. If not, an image over the time bound ends this process, as does one that
        crashes the decoder.
    """

    def __init__(self, options: DecodeOptions, *, isolated: bool) -> None:
        self.options = options
        self._isolated = isolated
        self._child: _Child | None = None
        decode_avif_in_one_thread()

    def __enter__(self) -> "Decoder":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child, if there is one."""
        self.close()

    def close(self) -> None:
        """End the child, if there is one, and leave this process's alarm as it was."""
        if self._child is not None:
            self._child.end()
            self._child = None
        if not self._isolated:
            faulthandler.unregister(signal.SIGALRM)

    def decode(self, data: bytes) -> DecodedImage:
        """Return the decoded image; raises `Rejected` with the reason for one that cannot be used."""
        if not self._isolated:
            # A process that runs out of memory may hold more than it needs; a new one shows whether the image does.
            with suppress(MemoryError), _bounded(self.options):
                return self.options.decode(data)
        try:
            return self._ask(data)
        except _LostError:
            # Something else may have killed it, such as the kernel when the whole machine runs out of memory.
            pass
        try:
            return self._ask(data)
        except _LostError as lost:
            raise Rejected(DECODER_CRASHED, str(lost)) from None

    def _ask(self, data: bytes) -> DecodedImage:
        if self._child is None:
            self._child = _Child()
        try:
            return self._child.decode(self.options, data)
        except Rejected as rejected:
            if rejected.reason == OVER_TIME:
                self.close()
            raise
        except _LostError:
            self.close()
            raise


class _LostError(Exception):
    """The child has died."""


class _Child:
    """A process that decodes: requests go to its standard input, answers come from its standard output.

    A request is the JSON of `DecodeOptions`, then the image's bytes; an answer is JSON, then the pixels. The length of
    each part precedes it in 8 bytes.
    """

    def __init__(self) -> None:
        path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def decode(self, options: DecodeOptions, data: bytes) -> DecodedImage:
        """Return the decoded image; raises `Rejected`, or `_LostError` where the child has died of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        overdue = threading.Timer(options.seconds + GRACE_SECONDS, self._process.kill)
        overdue.start()
        try:
            _send(self._process.stdin, json.dumps(asdict(options)).encode(), data)
            head, pixels = _receive(self._process.stdout)
        except (OSError, EOFError):
            status = self._process.wait()
            if status == -signal.SIGALRM or (status == -signal.SIGKILL and not overdue.is_alive()):
                raise Rejected(OVER_TIME, f"decoding took more than {options.seconds:g} s") from None
            how = f"signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"exit status {status}"
            raise _LostError(f"the decoder's process ended with {how}") from None
        finally:
            overdue.cancel()
        answer: dict[str, Any] = json.loads(head)
        if "reason" in answer:
            raise Rejected(answer["reason"], answer["error"])
        side = options.input_size
        return DecodedImage(np.frombuffer(pixels, np.uint8).reshape(side, side, 3), answer["width"], answer["height"])

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # bytes may wait that the process can no longer read
                pipe.close()  # type: ignore[union-attr]


def serve() -> None:
    """Decode the images that come on standard input until it ends; the main function of a child."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Nothing that a library prints may come between the answers.
    os.dup2(2, 1)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decode_avif_in_one_thread()
    while True:
        try:
            head, data = _receive(requests)
        except EOFError:
            return
        options = DecodeOptions(**json.loads(head))
        pixels = b""
        answer: dict[str, Any]
        try:
            with _bounded(options):
                image = options.decode(data)
                pixels = image.pixels.tobytes()
            answer = {"width": image.width, "height": image.height}
        except Rejected as rejected:
            answer = {"reason": rejected.reason, "error": rejected.error}
        except MemoryError:
            words = f"decoding takes more than {options.memory_bytes >> 20:,} MB"
            answer = {"reason": OVER_MEMORY, "error": words}
        _send(answers, json.dumps(answer).encode(), pixels)


def _send(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        pipe.write(_HEAD.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Return the two parts of a message; raises EOFError where it ends early."""
    parts = []
    for _ in range(2):
        (size,) = _HEAD.unpack(_exactly(pipe, _HEAD.size))
        parts.append(_exactly(pipe, size))
    return parts[0], parts[1]


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


@contextmanager
def _bounded(options: DecodeOptions) -> Iterator[None]:
    """Bound the block in time and memory: the process ends after the one, MemoryError is raised beyond the other.

    An alarm costs 1 µs an image, faulthandler's own watchdog 20 µs and a thread; and an alarm also ends a process whose
    interpreter lock is held. The traceback of that moment goes to standard error.
    """
    with suppress(AttributeError, ValueError, OSError, RuntimeError):  # there may be no standard error
        faulthandler.register(signal.SIGALRM, chain=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    held = _address_space()
    if held is not None:
        resource.setrlimit(resource.RLIMIT_AS, (min([held + options.memory_bytes, *bounds]), hard))
    signal.setitimer(signal.ITIMER_REAL, options.seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if held is not None:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int | None:
    """Return the size of this process's address space in bytes; None where the system does not say (macOS)."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - for each image: the quickest way
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None

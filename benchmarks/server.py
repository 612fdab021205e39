"""S3 played from memory by a process of its own: images or bare keys in, answers after a latency out.

It reads, writes (whole, in parts, on condition), lists and deletes objects, and ignores credentials. It shares the
machine's processors with its clients; `processor_seconds` is the time that it takes.
"""

import asyncio
import html
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from benchmarks import inputs
from benchmarks.bucket import PAGE, Bucket, Object, new_object
from job.storage import s3

IMAGES, RESULTS = "images", "results"
_WORDS = {200: "OK", 204: "No Content", 206: "Partial Content", 404: "Not Found", 412: "Precondition Failed"}


class Contents(NamedTuple):
    """The contents of the bucket `images`: a folder's files, or keys that all have one content.

    `keys` are in 100 folders, `flat` in one; `names` are further keys.
    """

    folder: Path | None = None
    keys: int = 0
    flat: int = 0
    names: tuple[str, ...] = ()


class Server(NamedTuple):
    """A server that runs, by its process."""

    process: int

    def processor_seconds(self) -> float:
        """Return the processor time that it has taken so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(contents: Contents, latency: float = 0.0) -> Iterator[Server]:
    """Run a server with the buckets `images` and `results`, and point the AWS libraries of this process to it.

    Parameters
    ----------
    latency : float
        Seconds that each answer waits; any number of them wait at once.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, contents, latency), daemon=True)
    process.start()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{here.recv()}",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    s3.forget()
    try:
        yield Server(process.pid or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
        s3.forget()
        process.terminate()
        process.join()


class _Request(NamedTuple):
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class _Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: str = ""  # each line with its end


class _S3:
    """The service: requests in, answers out."""

    def __init__(self, contents: Contents) -> None:
        images = {}
        if contents.folder:
            for path in contents.folder.rglob("*.*"):
                images[str(path.relative_to(contents.folder))] = new_object(path.read_bytes(), path.stat().st_mtime)
        same = new_object(inputs.jpeg(0, 100, 100), time.time())
        images |= {inputs.name(number): same for number in range(contents.keys)}
        images |= {f"camera/IMG_{number:08d}.jpg": same for number in range(contents.flat)}
        images |= dict.fromkeys(contents.names, same)
        self._buckets = {IMAGES: Bucket(images), RESULTS: Bucket({})}
        self._uploads: dict[str, dict[int, bytes]] = {}

    def answer(self, request: _Request) -> _Answer:
        bucket = self._buckets.get(request.bucket)
        if bucket is None:
            return _fault(404, "NoSuchBucket")
        if request.key:
            return self._object(bucket, request)
        if request.method == "POST":
            return _delete_many(bucket, request.body)
        return _Answer(200) if request.method == "HEAD" else _list(bucket, request.query)

    def _object(self, bucket: Bucket, request: _Request) -> _Answer:
        stored = bucket.objects.get(request.key)
        if not _as_expected(stored, request.headers):
            return _fault(412, "PreconditionFailed")
        if request.method in {"PUT", "POST"}:
            return self._put(bucket, request)
        if request.method == "DELETE":
            bucket.delete(request.key)
            return _Answer(204)
        return _fault(404, "NoSuchKey") if stored is None else _get(stored, request.headers.get("range"))

    def _put(self, bucket: Bucket, request: _Request) -> _Answer:
        upload = request.query.get("uploadId")
        if "uploads" in request.query:
            upload = str(len(self._uploads))
            self._uploads[upload] = {}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if upload and request.method == "PUT":
            self._uploads[upload][int(request.query["partNumber"])] = request.body
            return _Answer(200, headers=f"ETag: {new_object(request.body, 0).tag}\r\n")
        body = b"".join(part for _, part in sorted(self._uploads[upload].items())) if upload else request.body
        tag = bucket.put(request.key, body).tag
        if upload:
            return _xml("CompleteMultipartUploadResult", f"<ETag>{html.escape(tag)}</ETag>")
        return _Answer(200, headers=f"ETag: {tag}\r\n")


def _as_expected(stored: Object | None, headers: dict[str, str]) -> bool:
    if "if-match" in headers:
        return stored is not None and stored.tag == headers["if-match"]
    return stored is None or headers.get("if-none-match") != "*"


def _get(found: Object, requested: str | None) -> _Answer:
    headers = f"ETag: {found.tag}\r\nLast-Modified: {formatdate(found.modified, usegmt=True)}\r\n"
    if requested is None:
        return _Answer(200, found.body, headers)
    first, last = requested.removeprefix("bytes=").split("-")
    stop = min(int(last) + 1, len(found.body))
    return _Answer(
        206, found.body[int(first) : stop], f"{headers}Content-Range: bytes {first}-{stop - 1}/{len(found.body)}\r\n"
    )


def _list(bucket: Bucket, query: dict[str, str]) -> _Answer:
    keys, folders, following = bucket.page(
        query.get("prefix", ""),
        query.get("delimiter", ""),
        unquote(query.get("continuation-token", "")),
        query.get("start-after", ""),
        int(query.get("max-keys", PAGE)),
    )
    lines = [f"<IsTruncated>{'false' if following is None else 'true'}</IsTruncated><EncodingType>url</EncodingType>"]
    if following is not None:
        lines.append(f"<NextContinuationToken>{quote(following)}</NextContinuationToken>")
    for key in keys:
        found = bucket.objects[key]
        lines.append(
            f"<Contents><Key>{quote(key)}</Key><LastModified>{_moment(found.modified)}</LastModified>"
            f"<ETag>&quot;{found.tag[1:-1]}&quot;</ETag><Size>{len(found.body)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )
    lines += [f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>" for folder in folders]
    return _xml("ListBucketResult", "".join(lines))


@cache
def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def _delete_many(bucket: Bucket, body: bytes) -> _Answer:
    for key in re.findall("<Key>([^<]*)</Key>", body.decode()):
        bucket.delete(html.unescape(key))
    return _xml("DeleteResult", "")


def _xml(name: str, body: str) -> _Answer:
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{space}">{body}</{name}>'
    return _Answer(200, text.encode(), "Content-Type: application/xml\r\n")


def _fault(status: int, code: str) -> _Answer:
    return _Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class _Connection(asyncio.Protocol):
    """One client's connection: takes requests apart, and sends each answer when it has waited."""

    def __init__(self, service: _S3, latency: float) -> None:
        self._service, self._latency, self._got = service, latency, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        line, *lines = self._got[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(self._got) < end + 4 + length:
            if headers.get("expect") and len(self._got) == end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._got[end + 4 : end + 4 + length])
        self._got.clear()  # clients wait for an answer before they ask again
        method, target, _ = line.split(" ")
        path, _, query = target.partition("?")
        bucket, _, key = unquote(path[1:]).partition("/")
        request = _Request(method, bucket, key, dict(parse_qsl(query, keep_blank_values=True)), headers, body)
        asyncio.get_running_loop().call_later(self._latency, self._send, method, self._service.answer(request))

    def _send(self, method: str, answer: _Answer) -> None:
        head = f"HTTP/1.1 {answer.status} {_WORDS[answer.status]}\r\nContent-Length: {len(answer.body)}\r\n"
        self._transport.write(f"{head}{answer.headers}\r\n".encode() + (b"" if method == "HEAD" else answer.body))


def _serve(parent: Connection, contents: Contents, latency: float) -> None:
    async def serve() -> None:
        service = _S3(contents)
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(service, latency), "127.0.0.1", 0)
        parent.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())

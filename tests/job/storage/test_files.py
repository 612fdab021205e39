"""Files by address: the same behaviour on a local folder and on S3 (a moto server), and what only S3 has."""

import hashlib
import os
import socket
import socketserver
import threading
import time
import unicodedata
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from job import storage
from job.errors import JobError
from job.storage import s3


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a folder or prefix that is not there yet."""
    if request.param == "local":
        return str(tmp_path / "root")
    return f"s3://{request.getfixturevalue('bucket')}/root"


def names(folder: str) -> list[str]:
    return sorted(storage.name(entry.address) for entry in storage.scan(folder))


def test_what_is_written_is_read(root: str) -> None:
    large = np.random.default_rng(1).bytes(12_000_000)  # more than S3 clients send in one piece
    for name, data in (("empty", b""), ("small", b"\x00\xff\n"), ("large", large)):
        address = storage.join(root, "deep", "er", name)
        storage.write(address, data)
        assert storage.read(address) == data
    assert names(storage.join(root, "deep", "er")) == ["empty", "large", "small"]


def test_reading_a_file_stating_it_and_scanning_its_folder_tell_the_same_of_it(root: str) -> None:
    address = storage.join(root, "file.bin")
    storage.write(address, b"12345")
    data, entry = storage.fetch(address)
    assert data == b"12345"
    etag = hashlib.md5(b"12345", usedforsecurity=False).hexdigest() if storage.is_s3(root) else None  # as S3 makes it
    assert entry == storage.Entry(address, False, 5, entry.modified, etag)
    assert storage.stat(address) == entry
    assert list(storage.scan(root)) == [entry]
    assert entry.modified == pytest.approx(time.time() * 1e6, abs=600e6)


def test_times_are_microseconds_locally_and_whole_seconds_on_s3(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.utime(tmp_path / "a", ns=(0, 1_700_000_000_123_456_789))
    assert storage.stat(str(tmp_path / "a")).modified == 1_700_000_000_123_456
    storage.write(f"s3://{bucket}/a", b"")
    assert storage.stat(f"s3://{bucket}/a").modified % 1_000_000 == 0


def test_a_scan_gives_what_lies_directly_in_a_folder(root: str) -> None:
    for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg", "b.jpg"):
        storage.write(storage.join(root, *name.split("/")), b"x")
    assert {(storage.name(entry.address), entry.is_folder, entry.length) for entry in storage.scan(root)} == {
        ("a.jpg", False, 1),
        ("b", True, 0),
        ("b.jpg", False, 1),
    }
    folder = storage.stat(storage.join(root, "b"))
    assert (folder.is_folder, folder.length, folder.modified) == (True, 0, 0)
    assert names(folder.address) == ["c.jpg", "d"]


def test_files_and_trees_are_removed_with_nothing_else(root: str) -> None:
    for name in ("tree/a", "tree/b/c", "tree2/a", "tree.txt", "file", "file2"):
        storage.write(storage.join(root, *name.split("/")), b"x")
    storage.remove(storage.join(root, "tree"))
    storage.remove(storage.join(root, "file"))
    storage.remove(storage.join(root, "absent"))
    assert names(root) == ["file2", "tree.txt", "tree2"]
    assert not storage.exists(storage.join(root, "tree"))
    assert not storage.exists(storage.join(root, "file"))
    assert storage.exists(storage.join(root, "tree2"))
    assert storage.exists(storage.join(root, "tree2", "a"))
    assert not storage.exists(storage.join(root, "file2", "below"))


def test_the_old_bytes_stay_until_the_new_are_complete(root: str) -> None:
    address = storage.join(root, "file")
    storage.write(address, b"old")
    with storage.create(address) as path:
        path.write_bytes(b"new, half")
        assert storage.read(address) == b"old"
        path.write_bytes(b"new")
    assert storage.read(address) == b"new"
    assert names(root) == ["file"]
    assert not path.exists()


def test_an_error_while_writing_leaves_the_old_bytes_and_nothing_else(root: str) -> None:
    address = storage.join(root, "file")
    storage.write(address, b"old")
    with suppress(ZeroDivisionError), storage.create(address) as path:
        path.write_bytes(b"new, half")
        1 / 0  # noqa: B018
    assert storage.read(address) == b"old"
    assert names(root) == ["file"]
    assert not path.exists()


def test_what_is_half_written_locally_begins_with_a_dot(tmp_path: Path) -> None:
    with storage.create(str(tmp_path / "part.parquet")) as path:
        path.write_bytes(b"")
        assert path.parent == tmp_path
        assert path.name.startswith(".")


AWKWARD = [
    "two words.jpg",
    "100%25 %41.jpg",
    "a#b?c=d&e+f.jpg",
    "[b]{c}(d)*~`^<>|.jpg",
    'it\'s "quoted"; or so.jpg',
    "back\\slash.jpg",
    unicodedata.normalize("NFC", "Äpfel é.jpg"),
    unicodedata.normalize("NFD", "Äpfel é.jpg"),
    "苹果 🍎.jpg",
    "new\nline.jpg",
    "-rf",
    "s3:",
]


def test_awkward_names_are_kept_as_they_are(root: str) -> None:
    kept = [name for name in AWKWARD if not (storage.is_s3(root) and "\n" in name)]  # moto knows no newlines in keys
    for number, name in enumerate(kept):
        storage.write(storage.join(root, name), bytes([number]))
    assert names(root) == sorted(kept)
    for number, name in enumerate(kept):
        assert storage.fetch(storage.join(root, name))[0] == bytes([number])
        assert storage.stat(storage.join(root, name)).length == 1
    storage.remove(storage.join(root, kept[0]))
    assert names(root) == sorted(kept[1:])


RARE = ["a//b.jpg", "/start.jpg", "a/./b.jpg", "a/../b.jpg", "bell\x07.jpg", "../up.jpg"]


def walk(folder: str) -> Iterator[storage.Entry]:
    for entry in storage.scan(folder):
        if entry.is_folder:
            yield from walk(entry.address)
        else:
            yield entry


def test_s3_keys_that_paths_cannot_say_are_listed_read_and_written(bucket: str) -> None:
    client = boto3.client("s3")
    for key in (*RARE, "start.jpg", "a/b.jpg", "b.jpg"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = list(walk(f"s3://{bucket}"))
    assert {entry.address for entry in found} == {
        f"s3://{bucket}/{k}" for k in (*RARE, "start.jpg", "a/b.jpg", "b.jpg")
    }
    for entry in found:
        key = entry.address.removeprefix(f"s3://{bucket}/")
        assert storage.fetch(entry.address) == (key.encode(), entry)
        with storage.open_input(entry.address) as file:
            assert file.read() == key.encode()
    for key in RARE:
        storage.write(f"s3://{bucket}/{key}", b"new")
    assert {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in RARE} == dict.fromkeys(
        RARE, b"new"
    )
    assert storage.read(f"s3://{bucket}/start.jpg") == b"start.jpg"


def test_folder_markers_and_more_than_one_page_of_keys(bucket: str) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="many/", Body=b"")
    for number in range(1003):  # past the server, which takes 10 ms for each
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, f"many/{number:04d}", b"x")
    assert names(f"s3://{bucket}/many") == [f"{number:04d}" for number in range(1003)]
    storage.remove(f"s3://{bucket}/many")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_what_is_absent_raises_file_not_found(root: str) -> None:
    absent = storage.join(root, "absent")
    storage.write(storage.join(root, "present"), b"")
    for ask in (storage.stat, storage.read, storage.fetch, storage.open_input):
        with pytest.raises(FileNotFoundError) as caught:
            ask(absent)
        assert caught.value.filename == absent
    assert not storage.exists(absent)


def test_a_bucket_that_is_absent_raises_file_not_found(s3_environment: dict[str, str]) -> None:
    for ask in (storage.stat, storage.read, storage.open_input, storage.remove, lambda a: list(storage.scan(a))):
        with pytest.raises(FileNotFoundError, match="no such"):
            ask("s3://no-such-bucket-here/key")
    with pytest.raises(FileNotFoundError, match="no such"):
        storage.write("s3://no-such-bucket-here/key", b"")
    with pytest.raises(FileNotFoundError):
        list(storage.scan("/no/such/folder"))


def test_without_credentials_one_line_says_what_to_do(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3.forget()
    address = f"s3://{bucket}/key"
    for ask in (storage.stat, storage.read, storage.open_input, storage.remove, lambda a: storage.write(a, b"")):
        with pytest.raises(JobError, match=f"no AWS credentials for s3://{bucket}.*; set a profile or a role"):
            ask(address)


def test_what_s3_refuses_is_a_permission_error(bucket: str, moto_endpoint: str) -> None:
    storage.write(f"s3://{bucket}/key", b"")

    def refuse(after: bytes) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{moto_endpoint}/moto-api/reset-auth", after, headers)
        urllib.request.urlopen(request).close()

    refuse(b"0")  # from now on moto asks who it is, and knows nobody
    try:
        for ask in (storage.stat, storage.read, storage.open_input, storage.remove, lambda a: storage.write(a, b"")):
            with pytest.raises(PermissionError, match="S3 refuses") as caught:
                ask(f"s3://{bucket}/key")
            assert caught.value.filename.startswith(f"s3://{bucket}")
    finally:
        refuse(b"inf")


class Counting(socketserver.ThreadingTCPServer):
    """A relay to the moto server that counts the bytes of the answers."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.port = port
        self.answered = 0


class Relay(socketserver.BaseRequestHandler):
    server: Counting

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as far:
            asking = threading.Thread(target=self.pump, args=(self.request, far, False), daemon=True)
            asking.start()
            self.pump(far, self.request, True)
            asking.join()

    def pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(65536):
                self.server.answered += len(data) * counted
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_of_a_big_file_on_s3_only_the_parts_that_are_read_travel(
    bucket: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    path, address = [f"image {i}" for i in range(2000)], f"s3://{bucket}/big.parquet"
    table = pa.table({"path": path, "features": pa.FixedSizeListArray.from_arrays(rng.random(2000 * 1000), 1000)})
    with storage.create(address) as file:
        pq.write_table(table, file)
    assert storage.stat(address).length > 15_000_000
    with Counting(int(moto_endpoint.rsplit(":", 1)[1])) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.server_address[1]}")
        s3.forget()
        with storage.open_input(address) as source:
            assert pq.read_table(source, columns=["path"]).column("path").to_pylist() == path
        narrow = relay.answered
        with storage.open_input(address) as source:
            source.seek(4)
            assert len(source.read(10)) == 10
            assert source.tell() == 14
        storage.read(address)
        whole = relay.answered
        relay.shutdown()
    assert 20_000 < narrow < 3_000_000
    assert whole > 15_000_000  # the counter counts


def test_links_are_followed_and_dangling_or_circular_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"abc")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "file").symlink_to("real/a.jpg")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    found = {storage.name(entry.address): (entry.is_folder, entry.length) for entry in storage.scan(str(tmp_path))}
    assert found == {"real": (True, 0), "folder": (True, 0), "file": (False, 3)}

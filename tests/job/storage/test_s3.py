"""Storage that fails: S3 behind a server that throttles, breaks off, goes silent, refuses."""

import errno
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import numpy as np
import pytest

from job import storage
from job.storage import s3
from job.storage.s3_errors import refusal
from tests.faulty_s3 import TRANSIENT, Fault, FaultyS3, always, first, sometimes
from tests.job.conftest import IMPATIENT

SMALL = np.random.default_rng(1).bytes(200_000)
LARGE = np.random.default_rng(2).bytes(11_000_000)  # more than is sent in one piece


def straight(endpoint: str) -> "boto3.client":
    return boto3.client("s3", endpoint_url=endpoint)


def opened(address: str) -> bytes:
    with storage.open_input(address) as file:
        file.seek(1000)
        end = file.read()
        file.seek(0)
        return file.read(1000) + end


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: fault.name)
@pytest.mark.parametrize("key", ["plain", "rare//key"])
def test_each_fault_that_passes_leaves_what_is_read_and_written_as_it_is(
    faulty: FaultyS3, moto_endpoint: str, bucket: str, fault: Fault, key: str
) -> None:
    address, client = f"s3://{bucket}/{key}", straight(moto_endpoint)
    client.put_object(Bucket=bucket, Key=key, Body=SMALL)
    faults = (fault, None, fault)  # a second one, once it has gone on
    for read in (storage.read, opened, lambda a: storage.read_tagged(a)[0]):
        faulty.rule = first(*faults, part="key" if "//" in key else key)
        assert read(address) == SMALL
    faulty.rule = first(fault, method="HEAD", part=key)
    assert storage.stat(address).length == len(SMALL)
    assert opened(address) == SMALL
    faulty.rule = first(*faults, part="list-type")
    assert [entry.address for entry in storage.scan(address.rpartition("/")[0])] == [address]
    faulty.rule = first(*faults, method="PUT")
    storage.write(address, SMALL[::-1])
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == SMALL[::-1]
    faulty.rule = first(*faults, method="POST")
    storage.remove(address)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert faulty.injected[fault] >= 7


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: fault.name)
def test_a_file_sent_in_pieces_arrives_whole(faulty: FaultyS3, moto_endpoint: str, bucket: str, fault: Fault) -> None:
    pieces = first(fault, None, fault, method="PUT", part="partNumber")
    opening = first(fault, method="POST", part="uploads")
    faulty.rule = lambda request: pieces(request) or opening(request)
    storage.write(f"s3://{bucket}/large", LARGE)
    got = straight(moto_endpoint).get_object(Bucket=bucket, Key="large")["Body"].read()
    assert got == LARGE
    assert faulty.injected[fault] == 3


def test_a_condition_that_was_met_is_met_even_if_the_answer_was_lost(faulty: FaultyS3, bucket: str) -> None:
    address = f"s3://{bucket}/lease"
    faulty.rule = first(Fault.LOST, method="PUT")
    tag = storage.write_if(address, b"mine, 1", None)
    assert tag
    faulty.rule = first(Fault.LOST, method="PUT")
    tag = storage.write_if(address, b"mine, 2", tag)
    assert tag == storage.read_tagged(address)[1]
    assert faulty.injected[Fault.LOST] == 2
    # Another's is another's, lost answer or not.
    faulty.rule = first(Fault.LOST, method="PUT")
    assert storage.write_if(address, b"another", None) is None
    assert storage.read(address) == b"mine, 2"


def test_an_object_replaced_while_it_is_read_is_never_spliced(
    faulty: FaultyS3, moto_endpoint: str, bucket: str
) -> None:
    address, client = f"s3://{bucket}/key", straight(moto_endpoint)
    old, new = SMALL, SMALL[::-1]

    def replace(_: object) -> None:
        client.put_object(Bucket=bucket, Key="key", Body=new)

    client.put_object(Bucket=bucket, Key="key", Body=old)
    faulty.before_answer, faulty.rule = replace, first(Fault.TRUNCATED)
    assert storage.fetch(address)[0] == new

    # A file that is open stays the version that it was, or fails.
    client.put_object(Bucket=bucket, Key="key", Body=old)
    with storage.open_input(address) as file:
        replace(None)
        with pytest.raises(OSError, match=f"s3://{bucket}/key"):
            file.read()


def test_an_object_deleted_while_it_is_read_is_gone(faulty: FaultyS3, moto_endpoint: str, bucket: str) -> None:
    client = straight(moto_endpoint)
    client.put_object(Bucket=bucket, Key="key", Body=SMALL)
    faulty.before_answer = lambda _: client.delete_object(Bucket=bucket, Key="key")
    faulty.rule = first(Fault.TRUNCATED)
    with pytest.raises(FileNotFoundError):
        storage.fetch(f"s3://{bucket}/key")


ASKED: list[tuple[str, str, str, Callable[[str], object]]] = [
    ("GET", "GetObject", "s3:GetObject", storage.fetch),
    ("GET", "GetObject", "s3:GetObject", opened),
    ("GET", "GetObject", "s3:GetObject", storage.read_tagged),
    ("GET", "ListObjectsV2", "s3:ListBucket", lambda address: list(storage.scan(address))),
    ("GET", "ListObjectsV2", "s3:ListBucket", storage.remove),
    ("HEAD", "HeadObject", "s3:GetObject", storage.stat),
    ("HEAD", "HeadObject", "s3:GetObject", storage.open_input),
    ("PUT", "PutObject", "s3:PutObject", lambda address: storage.write(address, b"x")),
    ("PUT", "PutObject", "s3:PutObject", lambda address: storage.write_if(address, b"x", None)),
    ("POST", "DeleteObjects", "s3:DeleteObject", storage.remove),
    ("POST", "PutObject", "s3:PutObject", lambda address: storage.write(address, LARGE)),
]


@pytest.mark.parametrize(("method", "operation", "permission", "ask"), ASKED)
def test_a_refusal_is_raised_at_once_and_names_address_and_permission(
    faulty: FaultyS3, bucket: str, method: str, operation: str, permission: str, ask: Callable[[str], object]
) -> None:
    address = f"s3://{bucket}/key"
    storage.write(address, b"1234")
    faulty.rule = always(Fault.DENIED, method, "key" if "List" not in operation and method != "POST" else "")
    with pytest.raises(PermissionError) as caught:
        ask(address)
    assert caught.value.filename == address
    code = "403" if method == "HEAD" else "AccessDenied"
    text = str(caught.value.strerror)
    assert text.startswith(f"S3 refuses {operation} ({code}): the permission {permission}")
    assert text.endswith("is missing")
    assert faulty.injected[Fault.DENIED] == 1


def test_a_bucket_that_may_not_be_listed_can_still_be_read(faulty: FaultyS3, moto_endpoint: str, bucket: str) -> None:
    straight(moto_endpoint).put_object(Bucket=bucket, Key="key", Body=b"1234")
    faulty.rule = lambda request: None if request.path.endswith("/key") else Fault.DENIED
    assert storage.read(f"s3://{bucket}/key") == b"1234"
    assert faulty.injected[Fault.DENIED] == 1  # asked for its region, as anybody may know


def test_what_the_service_itself_says_is_missing_comes_before_what_is_usual() -> None:
    said = "User: arn:aws:sts::1:x is not authorized to perform: kms:Decrypt on the resource associated"
    text = refusal("s3://b/k", "GetObject", "AccessDenied", said).strerror
    assert text == "S3 refuses GetObject (AccessDenied): the permission kms:Decrypt is missing"
    text = refusal("s3://b/k", "GetObject", "InvalidObjectState", "").strerror
    assert text == "S3 refuses GetObject (InvalidObjectState): it is archived, and has to be restored first"


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.SILENT, Fault.TRUNCATED])
def test_patience_has_an_end_in_time_and_number(
    faulty: FaultyS3, moto_endpoint: str, bucket: str, fault: Fault
) -> None:
    straight(moto_endpoint).put_object(Bucket=bucket, Key="key", Body=SMALL)
    policy = replace(IMPATIENT, retry_seconds=1.0)
    for method, ask in (("GET", storage.fetch), ("GET", opened), ("PUT", lambda a: storage.write(a, SMALL))):
        before, started = len(faulty.requests), time.monotonic()
        faulty.rule = always(fault, method, "key")
        with s3.use(policy), pytest.raises(OSError, match="key") as caught:
            ask(f"s3://{bucket}/key")
        # Not what an image is rejected for, nor a refusal.
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, f"s3://{bucket}/key")
        assert time.monotonic() - started < 30  # by default, it goes on for 60 s
        assert 2 <= len(faulty.requests) - before <= (policy.library_retries + 1) * policy.attempts + 1


def test_a_prefix_that_throttles_for_several_seconds_is_waited_for(
    faulty: FaultyS3, moto_endpoint: str, bucket: str
) -> None:
    straight(moto_endpoint).put_object(Bucket=bucket, Key="key", Body=SMALL)
    until = time.monotonic() + 8
    faulty.rule = lambda request: Fault.SLOW_DOWN if time.monotonic() < until else None
    with s3.use(s3.RetryPolicy()):
        assert storage.read(f"s3://{bucket}/key") == SMALL
    assert len(faulty.requests) < 30  # it waits rather than knocks


def test_waits_grow_and_differ() -> None:
    waits: list[list[float]] = []

    def fail() -> None:
        raise OSError(errno.EIO, "broken", "s3://b/k")

    for _ in range(200):
        waits.append([])
        with s3.use(s3.RetryPolicy(sleep=waits[-1].append)), pytest.raises(OSError, match="broken"):
            s3.retried(fail)
    drawn = np.array(waits)
    policy = s3.RetryPolicy()
    assert drawn.shape == (200, policy.attempts - 1)
    assert np.all(drawn.max(axis=0) <= policy.first_wait_seconds * 2.0 ** np.arange(1, policy.attempts))
    assert np.all(np.diff(drawn.mean(axis=0)) > 0.05)
    assert len(np.unique(drawn)) == drawn.size


def test_five_of_a_hundred_requests_may_fail(faulty: FaultyS3, moto_endpoint: str, bucket: str) -> None:
    client = straight(moto_endpoint)
    rng = np.random.default_rng(5)
    objects = {f"{number:03d}": rng.bytes(int(rng.integers(0, 20_000))) for number in range(150)}
    for key, data in objects.items():
        client.put_object(Bucket=bucket, Key=f"in/{key}", Body=data)
    faulty.rule = sometimes(0.05, seed=3)
    with ThreadPoolExecutor(4) as pool:
        found = list(storage.scan(f"s3://{bucket}/in"))
        got = dict(pool.map(lambda entry: (storage.name(entry.address), storage.read(entry.address)), found))
        assert got == objects
        list(pool.map(lambda item: storage.write(f"s3://{bucket}/out/{item[0]}", item[1]), objects.items()))
    written = {key: client.get_object(Bucket=bucket, Key=f"out/{key}")["Body"].read() for key in objects}
    assert written == objects
    assert 8 <= faulty.injected.total() <= 30  # 5 % of some 320
    assert len(faulty.injected) >= 5

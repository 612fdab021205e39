"""Certificates for a cluster's nodes: what EMR asks for, read back by another library's eyes; kept while they last."""

import ssl
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bootstrap import certificates

pytestmark = pytest.mark.dev


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates") / "certificates.zip"
    path.write_bytes(certificates.make())
    return path


def test_key_and_certificate_are_a_pair_that_a_server_can_use(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made) as archive:
        assert set(archive.namelist()) == {"privateKey.pem", "certificateChain.pem", "trustedCertificates.pem"}
        archive.extractall(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificateChain.pem", tmp_path / "privateKey.pem")
    # The trusted certificate vouches for it.
    trusting = ssl.create_default_context(cafile=str(tmp_path / "trustedCertificates.pem"))
    assert trusting.cert_store_stats()["x509_ca"] == 1
    for name in ("ip-10-20-0-7.eu-west-3.compute.internal", "ip-10-20-0-7.ec2.internal"):
        _shake_hands(context, trusting, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(context, trusting, "example.com")


def _shake_hands(ours: ssl.SSLContext, theirs: ssl.SSLContext, name: str) -> None:
    """Have a client that knows the other by this name meet a server, without a network."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(to_client, to_server, server_hostname=name)
    server = ours.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue


def test_they_are_kept_until_a_year_before_their_end(made: Path) -> None:
    now = datetime.now(UTC)
    assert certificates.are_good(made)
    assert certificates.are_good(made, now + timedelta(days=365 * 8))
    assert not certificates.are_good(made, now + timedelta(days=365 * 9 + 1))


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_file_without_certificates_is_not_good(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "certificates.zip"
    if content is not None:
        path.write_bytes(content)
    assert not certificates.are_good(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("certificateChain.pem", "nothing")
    assert not certificates.are_good(path)

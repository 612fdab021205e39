"""Certificates that encrypt the traffic between the nodes of a cluster: an existing zip in, a verdict or a new zip out.

EMR takes them as PEM files in a zip. They are self-signed and name the nodes of every region, so one zip serves any
stack. Whoever may read the bucket of CDK's assets may read the private key. If you have certificates of an authority,
put them into the zip under the same names.
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-encryption-certificates.html
"""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEY, CHAIN, TRUSTED = "privateKey.pem", "certificateChain.pem", "trustedCertificates.pem"
YEARS = 10
# A certificate that ends sooner is replaced.
MIN_REMAINING = timedelta(days=365)


def are_good(path: Path, now: datetime | None = None) -> bool:
    """Return whether a zip holds a key and a certificate that lasts for another year."""
    from cryptography import x509  # noqa: PLC0415 - to build only

    try:
        with zipfile.ZipFile(path) as archive:
            archive.getinfo(KEY)
            certificate = x509.load_pem_x509_certificate(archive.read(CHAIN))
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError):
        return False
    return certificate.not_valid_after_utc - (now or datetime.now(UTC)) > MIN_REMAINING


def make() -> bytes:
    """Return a zip with a new key and its certificate."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nodes of EMR clusters")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node) for node in _nodes()]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in ((KEY, private), (CHAIN, public), (TRUSTED, public)):
            archive.writestr(file, text)
    return content.getvalue()


def _nodes() -> list[str]:
    """Return the host names of nodes, region by region; us-east-1 has a form of its own."""
    import boto3  # noqa: PLC0415

    session = boto3.session.Session()
    regions = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("emr", partition)
    ]
    return ["*.ec2.internal", *(f"*.{region}.compute.internal" for region in regions)]

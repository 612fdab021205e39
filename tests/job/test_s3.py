"""The whole job with pictures and results on S3 (a real server on this machine): the same as on a local disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from job import storage
from job.store import read_features
from tests.conftest import make_pictures

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    caches = (storage._session, storage._client, storage._bucket)
    for cache in caches:
        cache.cache_clear()
    yield f"http://{host}:{port}"
    for cache in caches:
        cache.cache_clear()
    server.stop()


def run(images: str, model: Path, output: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "job", "run", "--images", images, "--model", str(model)),
            *("--output", output, "--components", "4"),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pictures_and_results_on_s3_are_as_on_disk(server: str, tmp_path: Path, tiny_model: Path) -> None:
    images = make_pictures(tmp_path / "images", {"apple": 12, "é #?+ %20": 9})
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="fruits", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    for path in images.rglob("*.jpg"):
        client.upload_file(str(path), "fruits", f"photos/{path.relative_to(images)}")
    client.upload_file(str(images / "apple" / "000.jpg"), "fruits", "photos//apple/rare.jpg")

    assert "22 images: 22 ok, 0 rejected; 0 reused, 22 new" in run("s3://fruits/photos", tiny_model, "s3://fruits/out")
    # A second run infers nothing: what S3 lists and what it says of an object read are the same version.
    assert "22 reused, 0 new" in run("s3://fruits/photos", tiny_model, "s3://fruits/out")
    run(str(images), tiny_model, str(tmp_path / "out"))

    def features(output: str) -> dict[str, list[float]]:
        table = read_features(output)
        assert isinstance(table, pa.Table)
        return {f"{row['label']}/{Path(row['path']).name}": row["features"] for row in table.to_pylist()}

    on_s3 = features("s3://fruits/out")
    assert on_s3.pop("apple/rare.jpg") == on_s3["apple/000.jpg"]
    assert on_s3 == features(str(tmp_path / "out"))
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="fruits", Prefix="out/")["Contents"]]
    assert {"out/run.json", "out/pca_matrix.csv", "out/rejected.csv", "out/model/model.tflite"} <= set(keys)
    assert len([key for key in keys if key.startswith("out/pca_model/")]) == 1

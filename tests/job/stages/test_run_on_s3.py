"""The whole job with pictures and results on S3 (a real server on this machine): the same as on a local disk."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pyarrow as pa

from job.features.table import read_features
from tests.conftest import make_images

ROOT = Path(__file__).resolve().parents[3]


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


def test_pictures_and_results_on_s3_are_as_on_disk(bucket: str, tmp_path: Path, tiny_model: Path) -> None:
    images = make_images(tmp_path / "images", {"apple": 12, "é #?+ %20": 9})
    client = boto3.client("s3")
    for path in images.rglob("*.jpg"):
        client.upload_file(str(path), bucket, f"photos/{path.relative_to(images)}")
    client.upload_file(str(images / "apple" / "000.jpg"), bucket, "photos//apple/rare.jpg")

    photos, out = f"s3://{bucket}/photos", f"s3://{bucket}/out"
    assert "22 images: 22 ok, 0 rejected; 0 reused, 22 new" in run(photos, tiny_model, out)
    # A second run infers nothing: what S3 lists and what it says of an object read are the same version.
    assert "22 reused, 0 new" in run(photos, tiny_model, out)
    run(str(images), tiny_model, str(tmp_path / "out"))

    def features(output: str) -> dict[str, list[float]]:
        table = read_features(output)
        assert isinstance(table, pa.Table)
        return {f"{row['label']}/{Path(row['path']).name}": row["features"] for row in table.to_pylist()}

    on_s3 = features(out)
    assert on_s3.pop("apple/rare.jpg") == on_s3["apple/000.jpg"]
    assert on_s3 == features(str(tmp_path / "out"))
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]]
    assert {"out/run.json", "out/pca_matrix.csv", "out/rejected.csv", "out/model/model.tflite"} <= set(keys)
    # The results before the current ones stay until the next run; plain readers see the current ones alone.
    assert len({key.split("/")[2] for key in keys if key.startswith("out/_results/")}) == 2
    assert len({key.split("/")[2] for key in keys if key.startswith("out/pca_results/")}) == 1

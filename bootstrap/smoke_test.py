"""Try the job in a bare Python, from two archives and nothing else: its imports, S3's clients, an inference.

    python3.11 -I -S bootstrap/smoke_test.py FOLDER_OF_DEPENDENCIES JOB_ZIP MODEL_FOLDER

EMR runs the job in the same way, with Spark beside it: what fails here would fail there, after minutes.
`bootstrap.archive_check` starts this program. An import that is missing ends it with Python's own message.
"""

import ast
import importlib
import io
import sys
import zipfile
from pathlib import PurePosixPath

# EMR's own. The job loads it where it is needed only, so that everything else can be used without.
SPARK = {"pyspark", "py4j"}
# S3, and what botocore's chain of credentials may ask: roles, and a developer's single sign-on.
SERVICES = ("s3", "sts", "sso", "sso-oidc", "signin")


def try_imports(package: str) -> None:
    """Run every import statement of the package, then load each module but `entry`, which runs the job."""
    with zipfile.ZipFile(package) as archive:
        sources = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom | ast.Import):
                module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                if str(module).split(".")[0] not in SPARK:
                    exec(ast.unparse(node), {})  # noqa: S102 - the job's own statement, as it stands there
        path = PurePosixPath(name).with_suffix("")
        if path.name != "entry":
            importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
    importlib.import_module("pandas")  # that PySpark asks for where it hands Arrow to Python


def try_clients() -> None:
    """Make a client of each service that S3 with a chain of credentials may need; send no request."""
    import boto3  # noqa: PLC0415 - found only now

    session = boto3.Session("none", "none", region_name="eu-west-1")
    for service in SERVICES:
        session.client(service)


def try_inference(folder: str) -> None:
    """Decode a image and infer its features."""
    import numpy as np  # noqa: PLC0415 - found only now
    from PIL import Image  # noqa: PLC0415

    from job.features.extractor import FeatureExtractor  # noqa: PLC0415
    from job.features.model import read_model  # noqa: PLC0415
    from job.images.decode import decode  # noqa: PLC0415

    file = io.BytesIO()
    Image.new("RGB", (300, 200), "orange").save(file, "JPEG")
    model = read_model(folder)
    features = FeatureExtractor(model).extract(decode(file.getvalue(), model.description.input_size).pixels)
    if features.shape != (model.description.n_features,) or not np.isfinite(features).all():
        raise ValueError(f"an inference gave {features}")


if __name__ == "__main__":
    dependencies, package, model = sys.argv[1:]
    sys.path[:0] = [dependencies, package]  # PYTHONPATH comes first on EMR too
    try_imports(package)
    try_clients()
    try_inference(model)

"""The code of the job as assets: the files that `python -m bootstrap.package` builds in, their addresses out."""

import hashlib
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra.settings import SettingsError

# What every target runs, and what the nodes of a cluster need beside it.
FILES = {"EntryPoint": "entry.py", "Job": "job.zip", "Model": "model"}
CLUSTER_FILES = {"Installer": "install_dependencies.sh", "Certificates": "certificates.zip"}


class Code(Construct):
    """The files that run, uploaded once to the bucket of CDK's assets."""

    def __init__(self, scope: Construct, construct_id: str, *, dist: Path, architecture: str, cluster: bool) -> None:
        """Take the files from `dist`, for a cluster some more; raise `SettingsError` where one is missing."""
        super().__init__(scope, construct_id)
        # Not .tar.gz: the key of an asset keeps only the last extension, by which Spark unpacks the file.
        dependencies = f"dependencies-{architecture}.tgz"
        files = FILES | {"Dependencies": dependencies} | (CLUSTER_FILES if cluster else {})
        for name in files.values():
            if not (dist / name).exists():
                raise SettingsError(
                    f"{dist / name} is missing; build it: python -m bootstrap.package --architecture {architecture}"
                    ' (once, or for good by "architecture" in the context of cdk.json)'
                )
        assets = {name: s3_assets.Asset(self, name, path=str(dist / file)) for name, file in files.items()}
        self.address = {name: asset.s3_object_url for name, asset in assets.items()}
        self.dependencies_sha256 = hashlib.sha256((dist / dependencies).read_bytes()).hexdigest()
        self.object_arns = [asset.bucket.arn_for_objects(asset.s3_object_key) for asset in assets.values()]

"""The buckets of images, results and logs: private, TLS only, versioned, encrypted, kept when the stack is destroyed.

Images and results have a bucket each, as their permissions and lifetimes differ: the job only reads the images, which
may be an existing archive; results can be made again.
"""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

# An upload that nobody finished costs money until it is dropped.
UNFINISHED_DAYS = 7
MINIMUM_TLS = 1.2
# Folders of the log bucket.
JOB_LOGS = "emr"
ACCESS_LOGS = "access"


class Storage(Construct):
    """The buckets; that of the images may be an existing one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        images_bucket: str,
        key: kms.IKey | None,
        removal: cdk.RemovalPolicy,
        log_days: int,
        version_days: int,
    ) -> None:
        """Make the buckets.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        images_bucket : str
            Name of an existing bucket of images; empty to make one.
        key : IKey or None
            What encrypts images and results; None for keys that S3 manages.
        removal : RemovalPolicy
            What becomes of the buckets when the stack is destroyed. CloudFormation deletes only empty ones.
        log_days, version_days : int
            Days after which logs, and versions that are no longer current, are deleted.
        """
        super().__init__(scope, construct_id)
        self._key = key
        self._removal = removal
        self._version_days = version_days
        # S3 writes access logs only to buckets with keys of S3; logs of the job name their key themselves.
        self.logs = self._bucket("Logs", None, s3.LifecycleRule(expiration=cdk.Duration.days(log_days)))
        self.results = self._bucket("Results", self.logs)
        self.images: s3.IBucket = (
            s3.Bucket.from_bucket_name(self, "Images", images_bucket)
            if images_bucket
            else self._bucket("Images", self.logs)
        )

    @property
    def job_logs(self) -> str:
        """The `s3://` address of the logs of runs."""
        return self.logs.s3_url_for_object(JOB_LOGS)

    def _bucket(self, name: str, logs: s3.IBucket | None, *rules: s3.LifecycleRule) -> s3.Bucket:
        key = self._key if logs else None
        return s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=MINIMUM_TLS,
            versioned=True,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            # One request to KMS for many objects.
            bucket_key_enabled=True if key else None,
            server_access_logs_bucket=logs,
            server_access_logs_prefix=f"{ACCESS_LOGS}/{name.lower()}/" if logs else None,
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=cdk.Duration.days(self._version_days),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(UNFINISHED_DAYS),
                    expired_object_delete_marker=None if rules else True,
                ),
                *rules,
            ],
            removal_policy=self._removal,
        )

"""AWS played on this machine with the real pieces, from `cdk deploy` to results in the bucket.

What is real: cdk and the stack, the archives, the request, spark-submit, the job, S3's answers to a role's rights.
What is not: EMR itself (`executor` and `run`, for clusters `clusters` and `flow`, and `container` stand for it), and
rights other than those of S3 on objects and listings. Conditions (`s3:prefix`), the role's trust, iam:PassRole, logs,
KMS and multipart uploads are judged by the evaluator of `tests/infra/test_access.py`; moto would let them pass or
refuse them without reason.
"""

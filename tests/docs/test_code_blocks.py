"""Every code block of the documentation: run on a small run, read by the command's own parser, or listed with a reason."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from bootstrap.model import main as make_model
from bootstrap.sample import KINDS, images
from fruits import Settings, featurize, reduce
from tests.docs.blocks import ALL, CODE, NOT_CODE, ROOT, Block

# What is not run, by the start of the command line, and why.
NOT_RUN = {
    # In the cloud.
    "make bootstrap": "needs an AWS account",
    "make deploy": "needs an AWS account",
    "WEIGHTS=embedded make deploy": "needs an AWS account",
    "make destroy": "needs an AWS account",
    "aws s3 sync": "needs an AWS account",
    "python -c \"import boto3": "needs an AWS account; it deletes what a bucket holds",
}

"""Requests: what the stack tells in its outputs, and what is sent to EMR. Pure functions; no boto3, no CDK."""

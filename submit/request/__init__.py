"""Requests to EMR, made from the outputs of the stack. Pure functions; no boto3, no CDK."""

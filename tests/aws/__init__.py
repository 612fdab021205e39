"""AWS played on this machine, well enough for the real `cdk` to bootstrap, deploy and destroy stacks in it."""

ACCOUNT = "123456789012"
REGION = "eu-west-3"

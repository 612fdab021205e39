"""What stands in the cloud: settings in, one CloudFormation stack out."""

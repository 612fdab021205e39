"""The CDK app: settings in, one stack out. The `cdk` command runs it, as cdk.json says."""

import os
import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.settings import SettingsError, StackSettings
from infra.stack import FruitsStack


def main() -> int:
    """Synthesize the stack; return the exit status."""
    app = cdk.App()
    account = os.environ.get("CDK_DEFAULT_ACCOUNT")  # from the cdk command, where it finds credentials
    try:
        settings = StackSettings.from_context(app.node.get_all_context())
        FruitsStack(app, settings, Path(__file__).parent / "dist", account)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if account is None:
        print("no AWS credentials found: enough to synthesize; to deploy, set AWS_PROFILE or log in", file=sys.stderr)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:  # jsii turns every error of the CDK into this
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

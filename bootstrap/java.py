"""A Java that Spark runs on: found, or installed as root on Debian or Ubuntu, or one line that says how to get it."""

import os
import shutil
import subprocess
import sys

from job.errors import JobError
from job.spark.session import JAVA_VERSIONS, NO_JAVA, find_java


def ensure() -> None:
    """See to it that there is a Java that Spark runs on.

    Raises
    ------
    JobError
        Where there is none and this is not root on Debian or Ubuntu, or the installation fails.
    """
    if find_java():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise JobError(NO_JAVA)
    print("No Java 17 or 21 found: installing one from the distribution's packages, once.", flush=True)
    _apt("apt-get", "update")
    for version in JAVA_VERSIONS:
        package = f"openjdk-{version}-jre-headless"
        if _apt("apt-cache", "show", package).returncode == 0:
            done = _apt("apt-get", "-y", "--no-install-recommends", "install", package)
            if done.returncode == 0 and find_java():
                print(f"Installed {package}.")
                return
            raise JobError(
                f"installing {package} failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
            )
    raise JobError(f"this distribution has no package of Java 17 or 21. {NO_JAVA}")


def _apt(*command: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def main() -> int:
    """Run the command; returns its exit status."""
    try:
        ensure()
    except JobError as error:
        print(f"bootstrap.java: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A Java that Spark runs on: found, or installed as root on Debian or Ubuntu, or one line that says how to get it."""

import os
import shutil
import subprocess
import sys

from job.errors import JobError
from job.session import JAVA_VERSIONS, NO_JAVA, find_java


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
    quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "-qq", "update"], check=False, **quiet)  # type: ignore[call-overload]  # noqa: S607
    for version in JAVA_VERSIONS:
        package = f"openjdk-{version}-jre-headless"
        known = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)  # noqa: S603, S607
        if known.returncode == 0:
            command = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", package]
            if subprocess.run(command, check=False, **quiet).returncode == 0 and find_java():  # type: ignore[call-overload]  # noqa: S603
                print(f"Installed {package}.")
                return
    raise JobError(f"installing Java failed. {NO_JAVA}")


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

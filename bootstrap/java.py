"""A Java that Spark runs on: found, or installed as root on Debian or Ubuntu, or one line that says how to get it."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.spark.java import JAVA_VERSIONS, NO_JAVA, find_java


def ensure(find: Callable[[], Path | None] = find_java, user: Callable[[], int] = os.geteuid) -> None:
    """Install a Java that Spark runs on, unless there is one.

    Parameters
    ----------
    find : callable
        Finds a Java: `find_java`.
    user : callable
        Returns the number of the user that runs this: 0 is root.

    Raises
    ------
    JobError
        Where there is none and this is not root on Debian or Ubuntu, or the installation fails.
    """
    if find():
        return
    if user() != 0 or shutil.which("apt-get") is None:
        raise JobError(NO_JAVA)
    print("No Java 17 or 21 found: installing one from the distribution's packages, once.", flush=True)
    _apt("apt-get", "update")
    for version in JAVA_VERSIONS:
        package = f"openjdk-{version}-jre-headless"
        if _apt("apt-cache", "show", package).returncode == 0:
            done = _apt("apt-get", "-y", "--no-install-recommends", "install", package)
            if done.returncode == 0 and find():
                print(f"Installed {package}.")
                return
            raise JobError(
                f"installing {package} failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
            )
    raise JobError(f"this distribution has no package of Java 17 or 21. {NO_JAVA}")


def _apt(*command: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def main(
    arguments: list[str] | None = None,
    find: Callable[[], Path | None] = find_java,
    user: Callable[[], int] = os.geteuid,
) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser("python -m bootstrap.java", description=__doc__)
    add_version(parser)
    parser.parse_args(arguments)
    return exit_status(lambda: ensure(find, user), new_log())


if __name__ == "__main__":
    sys.exit(main())

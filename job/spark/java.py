"""A Java that Spark runs on: where it is, or how to get one."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

JAVA_VERSIONS = (17, 21)
JAVA_ROOTS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
NO_JAVA = (
    "Spark needs Java 17 or 21 and none was found; on Debian or Ubuntu: apt-get install openjdk-17-jre-headless,"
    " on macOS: brew install openjdk@17; or point JAVA_HOME to one"
)


def find_java(roots: Sequence[Path] = JAVA_ROOTS) -> Path | None:
    """Return the home of a Java that Spark runs on: JAVA_HOME, then PATH, then the roots of Debian and macOS."""
    homes = [os.environ.get("JAVA_HOME", "")]
    homes += [str(Path(folder, "java").resolve().parent.parent) for folder in os.get_exec_path()]
    homes += [str(home) for root in roots if root.is_dir() for home in sorted(root.iterdir())]
    for home in dict.fromkeys(homes):
        for candidate in (Path(home), Path(home, "Contents", "Home")) if home else ():
            if java_version(candidate / "bin" / "java") in JAVA_VERSIONS:
                return candidate
    return None


def java_version(java: Path) -> int | None:
    """Return the major version of a `java` program, or None where it is not one."""
    if not os.access(java, os.X_OK):
        return None
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(found[1]) if found else None

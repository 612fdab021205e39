"""One attempt of a run, as EMR would have it in its containers: a request and a role's credentials in, processes out.

All lies in one folder: what was fetched, Spark's home, the working folder, temporary files, the logs. The driver and
the executors share the machine here; what one has that the other would not have on EMR is kept apart all the same.
spark-submit gets the options as they were sent, but for: the master, which EMR adds too; addresses of files, which are
those of what was fetched. Where EMR would have one container for each executor, Spark's local cluster has a process.
"""

import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark
from botocore.exceptions import ClientError

from submit.request.cluster import INSTALLED
from tests.rehearsal.payload import Submission

# Of executors at a time: this machine may have two cores.
MAX_EXECUTORS = 2
# After the polite signal, what is left is killed.
GRACE_SECONDS = 10.0


class AssetError(Exception):
    """Something that the run needs cannot be had; what the service says of it."""


@dataclass(frozen=True)
class Machine:
    """What the containers' image holds: a Java, and a Python 3.11 without any package."""

    java_home: Path
    python: Path


class Container:
    """The processes of one attempt, and the folder that they live in."""

    def __init__(
        self,
        folder: Path,
        submission: Submission,
        machine: Machine,
        environment: Mapping[str, str],
        node: Path | None = None,
    ) -> None:
        """Name what will run; `environment` holds the role's credentials and the way to S3.

        `node` is the folder that stands for the root of a cluster's node, where its bootstrap action has installed.
        """
        self.folder = folder
        self._node = node
        self._submission = submission
        self._machine = machine
        self._environment = environment
        self._work = folder / "work"
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, s3: Any) -> None:
        """Fetch and unpack all that the driver needs; raises `AssetError`."""
        for name in ("assets", "work", "tmp", "local"):
            (self.folder / name).mkdir(parents=True)
        for stream in ("stdout", "stderr"):
            (self.folder / stream).touch()
        for address in self._submission.files:
            self._fetch(s3, address)
        for address, name in self._submission.archives:
            _unpack(Path(self._local(address)), self._work / name)
        self._install()

    def start(self) -> int:
        """Start spark-submit, as EMR does: in client mode, the master being its own affair. Return its session."""
        settings = self._submission.settings
        cores = settings.get("spark.executor.cores", "4")
        count = min(MAX_EXECUTORS, int(settings.get("spark.dynamicAllocation.maxExecutors", "2")))
        memory = _megabytes(settings.get("spark.executor.memory", "14g"))
        words = self._submission.command(self._local)
        if self._node:
            words = [word.replace(INSTALLED, f"{self._node}{INSTALLED}") for word in words]
        command = [
            *self._submission.before,
            *(str(self.folder / "spark/bin/spark-submit"), "--master", f"local-cluster[{count},{cores},{memory}]"),
            *words,
        ]
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=self._work,
                env=self._process_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # The session is the container: whatever was started in it belongs to it.
                start_new_session=True,
            )
        return self._process.pid

    def ended(self) -> int | None:
        """Return the exit status of spark-submit, None while it runs."""
        assert self._process
        return self._process.poll()

    def stop(self) -> None:
        """End it as containers are ended: a signal to the first process, and after a while the end of all."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)

    def remove(self) -> None:
        """Kill what is left of it, and delete its folder."""
        if self._process:
            while left := processes_of(self._process.pid):
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._process.poll()
                time.sleep(0.02)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _local(self, address: str) -> str:
        return str(self.folder / "assets" / address.removeprefix("s3://"))

    def _fetch(self, s3: Any, address: str) -> None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        path = Path(self._local(address))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file, 1 << 20)
        except ClientError as error:
            raise AssetError(f"cannot get {address} (s3:GetObject): {error}") from None

    def _install(self) -> None:
        """Lay out a home for Spark and programs that hold on to this folder."""
        home = self.folder / "spark"
        home.mkdir()
        # A home of its own, as Spark makes a folder `work` in it.
        for part in _parts_of_spark():
            (home / part.name).symlink_to(part)
        java = self.folder / "java/bin/java"
        # Temporary files stay in here; few cores and a short life ask for a small JVM.
        options = f'-Djava.io.tmpdir="{self.folder / "tmp"}" -XX:-UsePerfData -XX:TieredStopAtLevel=1 -XX:+UseSerialGC'
        _script(java, f'exec "{self._machine.java_home}/bin/java" {options} "$@"')
        # The driver's own variables reach the driver alone: executors, which inherit the JVM's here, have containers
        # of their own on EMR. PYTHONPATH comes after what Spark puts into it, as where Spark finds it set.
        variables = dict(self._submission.driver_environment)
        path = variables.pop("PYTHONPATH", None)
        lines = [f"export {name}={_quoted(value)}" for name, value in variables.items()]
        lines += [f'export PYTHONPATH="$PYTHONPATH":{_quoted(path)}'] if path else []
        _script(self.folder / "driver", *lines, f'exec "{self._machine.python}" "$@"')

    def _process_environment(self) -> dict[str, str]:
        return {
            **self._environment,
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder / "tmp"),
            "JAVA_HOME": str(self.folder / "java"),
            "SPARK_HOME": str(self.folder / "spark"),
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": str(self._machine.python),
            "PYSPARK_DRIVER_PYTHON": str(self.folder / "driver"),
        }


def processes_of(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name) state ppid pgrp session …; a name may hold anything.
            state, _, _, sid = path.read_text().rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
    else:
        subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)


def _script(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _megabytes(text: str) -> int:
    return int(text[:-1]) * {"m": 1, "g": 1024}[text[-1].lower()]


def _parts_of_spark() -> list[Path]:
    """Return what pip's PySpark consists of, which is a whole Spark; not a `work` that a run may have left there."""
    return [part for part in Path(pyspark.__file__).parent.iterdir() if part.name != "work"]

"""The Spark part of a request to EMR in; files to fetch, and a command line of spark-submit, out."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# Of a setting or an option: addresses, separated by commas, each perhaps with `#` and the name to unpack it as.
FILE_SETTINGS = ("spark.submit.pyFiles", "spark.archives", "spark.files", "spark.jars")
FILE_OPTIONS = ("--py-files", "--archives", "--files", "--jars")
ARCHIVES = ("spark.archives", "--archives")
DRIVER_ENVIRONMENT = "spark.emr-serverless.driverEnv."


@dataclass(frozen=True)
class Submission:
    """The part `jobDriver.sparkSubmit` of a request, or a step's arguments.

    Attributes
    ----------
    entry_point : str
        Address of the program.
    arguments : tuple of str
        Its arguments.
    words : tuple of str
        Options of spark-submit, as a shell would split them.
    before : tuple of str
        What spark-submit is started by.
    """

    entry_point: str
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    before: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: dict[str, Any]) -> "Submission":
        """Return what a request of StartJobRun says."""
        driver = request["jobDriver"]["sparkSubmit"]
        words = shlex.split(driver.get("sparkSubmitParameters", ""))
        return cls(driver["entryPoint"], tuple(driver.get("entryPointArguments", ())), tuple(words))

    @classmethod
    def of_step(cls, step: dict[str, Any]) -> "Submission":
        """Return what a step says; which master there is, is EMR's own affair."""
        jar_step = step["HadoopJarStep"]
        assert jar_step["Jar"] == "command-runner.jar"
        at = jar_step["Args"].index("spark-submit")
        before, rest = jar_step["Args"][:at], jar_step["Args"][at + 1 :]
        words: list[str] = []
        while rest[0].startswith("--"):
            option, value, *rest = rest
            words += [] if (option, value) == ("--master", "yarn") else [option, value]
        return cls(rest[0], tuple(rest[1:]), tuple(words), tuple(before))

    @property
    def settings(self) -> dict[str, str]:
        """Return what is set by `--conf`."""
        pairs = [self.words[at + 1] for at, word in enumerate(self.words) if word == "--conf"]
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def driver_environment(self) -> dict[str, str]:
        """Return the variables that the driver alone is given."""
        return {
            name.removeprefix(DRIVER_ENVIRONMENT): value
            for name, value in self.settings.items()
            if name.startswith(DRIVER_ENVIRONMENT)
        }

    @property
    def files(self) -> list[str]:
        """Return the addresses of all that has to be there before the driver starts."""
        return list(dict.fromkeys([self.entry_point, *(address for _, address, _ in self._references())]))

    @property
    def archives(self) -> list[tuple[str, str]]:
        """Return address and name of what is unpacked into the working folders."""
        return [(address, name) for where, address, name in self._references() if where in ARCHIVES]

    def command(self, local: Callable[[str], str]) -> list[str]:
        """Return the arguments of spark-submit with files in place of addresses.

        That is all that is rewritten: Spark's own way to S3, Hadoop's S3A with EMR's credentials, is no part of pip's
        PySpark. The entry point's arguments are the job's business, which knows S3 itself.
        """
        words = list(self.words)
        for at, word in enumerate(words[:-1]):
            following = words[at + 1]
            name, _, value = following.partition("=")
            if word in FILE_OPTIONS:
                words[at + 1] = _rewritten(following, local)
            elif word == "--conf" and name in FILE_SETTINGS:
                words[at + 1] = f"{name}={_rewritten(value, local)}"
        return [*words, local(self.entry_point), *self.arguments]

    def _references(self) -> Iterator[tuple[str, str, str]]:
        for word, following in zip(self.words, self.words[1:], strict=False):
            name, _, value = following.partition("=")
            if word in FILE_OPTIONS:
                name, value = word, following
            elif word != "--conf" or name not in FILE_SETTINGS:
                continue
            for reference in value.split(","):
                address, _, unpacked = reference.partition("#")
                yield name, address, unpacked or address.rsplit("/", 1)[-1]


def _rewritten(references: str, local: Callable[[str], str]) -> str:
    parts = [reference.partition("#") for reference in references.split(",")]
    return ",".join(local(address) + hash_ + name for address, hash_, name in parts)

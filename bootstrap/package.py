"""Build what the stack uploads, into dist/. `cdk` runs this before each synthesis: what is up to date stays.

    python -m bootstrap.package
    WEIGHTS=embedded python -m bootstrap.package --architecture arm64

job.zip, entry.py                  the package `job` and the script that starts it
dependencies-ARCHITECTURE.tgz      the packages it imports on EMR, with Python 3.11; made by pip, without Docker
model/                             a model folder, as bootstrap.model makes it
install_dependencies.sh            the script that installs the dependencies on each node of a cluster
certificates.zip                   the certificates with which those nodes encrypt what they send each other

Environment variables choose the model, as for make: WEIGHTS (default: imagenet), ALPHA, SIZE. Each product appears
whole or not at all. All messages go to standard error, as standard output may be a template.
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bootstrap import archive_check, certificates
from bootstrap.archive import build_archive, recipe
from bootstrap.archive_check import JOB, MACHINES, ROOT, SMOKE_TEST, check_archive
from bootstrap.model import ModelSpec, make, sha256
from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.features.model import ModelDescription
from job.spark.shipping import zip_package

T = TypeVar("T", int, float)

ARCHITECTURES = tuple(MACHINES)
INSTALLER = Path(__file__).parent / "install_dependencies.sh"
WEIGHTS = "imagenet"


@dataclass(frozen=True)
class Makers:
    """The functions that make the costly products.

    Attributes
    ----------
    model : callable
        Makes a model folder: `bootstrap.model.make`.
    recipe, archive : callable
        Names all that determines an archive; builds it: `bootstrap.archive`.
    """

    model: Callable[[ModelSpec, Path], tuple[ModelDescription, bool]] = make
    recipe: Callable[[str], str] = recipe
    archive: Callable[[Path, str, Path], str] = build_archive


MAKERS = Makers()


def build(output: Path, architecture: str, spec: ModelSpec, package: Path = JOB, makers: Makers = MAKERS) -> list[str]:
    """Build what is missing, altered or made from something else.

    Parameters
    ----------
    output : Path
        Folder of the products.
    architecture : str
        `x86_64` or `arm64`: of the workers.
    spec : ModelSpec
        Which model.
    package : Path
        Folder of the job's package.
    makers : Makers
        The functions that make the costly products.

    Returns
    -------
    list of str
        A line for each thing that was built; empty where all was there.

    Raises
    ------
    JobError
        Where something cannot be built; what was there before is still there.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with (output / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two commands of cdk may build at once
            for left in (*output.glob(".building-*"), *output.glob(".checking-*"), *output.glob(".model-*")):
                shutil.rmtree(left)  # by a build that was killed
            products = (
                _written(output / "job.zip", zip_package(package)),
                _written(output / "entry.py", (package / "entry.py").read_bytes()),
                _written(output / INSTALLER.name, INSTALLER.read_bytes()),
                _certificates(output / "certificates.zip"),
                _model(output / "model", spec, makers),
                _dependencies(output, architecture, package, makers),
            )
    except OSError as error:
        raise JobError(f"cannot build {output}: {error}") from None
    return [line for line in products if line]


def requested_model(environment: Mapping[str, str]) -> ModelSpec:
    """Return the model that WEIGHTS, ALPHA and SIZE ask for; an empty one counts as not set. Raises `JobError`."""
    return ModelSpec(
        environment.get("WEIGHTS") or WEIGHTS, _number(environment, "ALPHA", float), _number(environment, "SIZE", int)
    )


def default_architecture(settings: Path = ROOT / "cdk.json") -> str:
    """Return the architecture in the context of cdk.json, x86_64 where it names none.

    Raises
    ------
    JobError
        Where the file cannot be read or names another architecture.
    """
    try:
        found = json.loads(settings.read_text()).get("context", {}).get("architecture", ARCHITECTURES[0])
    except FileNotFoundError:
        return ARCHITECTURES[0]
    except (ValueError, AttributeError) as error:
        raise JobError(f"{settings} is not the settings of a CDK project: {error}") from None
    if found not in ARCHITECTURES:
        raise JobError(f"{settings}: architecture is {found!r}, not one of {', '.join(ARCHITECTURES)}")
    return str(found)


def _number(environment: Mapping[str, str], name: str, kind: Callable[[str], T]) -> T | None:
    try:
        return kind(environment[name]) if environment.get(name) else None
    except ValueError:
        raise JobError(f"{name}={environment[name]} is no number{' of pixels' if kind is int else ''}") from None


def _written(path: Path, content: bytes) -> str | None:
    """Write a file unless it holds these bytes; return a line about it if it was written."""
    if path.is_file() and path.read_bytes() == content:
        return None
    _put(path, content)
    return f"{path}: {_size(path)}"


def _put(path: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as work:
        part = Path(work, path.name)
        part.write_bytes(content)
        part.replace(path)


def _certificates(path: Path) -> str | None:
    """Make certificates unless there are some that last: new ones would mean another deployment."""
    if certificates.are_good(path):
        return None
    line = _written(path, certificates.make())
    path.chmod(0o600)  # it holds a private key
    return line


def _model(folder: Path, spec: ModelSpec, makers: Makers) -> str | None:
    try:
        description, made = makers.model(spec, folder)
    except JobError as error:
        message = str(error).replace("--weights", "WEIGHTS").replace("--alpha", "ALPHA").replace("--input-size", "SIZE")
        if spec.weights != "embedded":
            message += "; to try everything with the included model: WEIGHTS=embedded"
        raise JobError(message) from None
    if not made:
        return None
    return f"{folder}: {_size(folder / 'model.tflite')}, {description.name}; {description.weights_note}"


def _dependencies(output: Path, architecture: str, package: Path, makers: Makers) -> str | None:
    archive = output / f"dependencies-{architecture}.tgz"
    stamp = output / f".{archive.name}.json"
    made = makers.recipe(architecture)
    tried = sha256(zip_package(package) + SMOKE_TEST.read_bytes() + Path(archive_check.__file__).read_bytes())

    def state() -> dict[str, Any]:
        status = archive.stat() if archive.is_file() else None
        return {
            "made from": made,
            "tried with": tried,
            "size": status and status.st_size,
            "modified": status and status.st_mtime_ns,
        }

    found, now = _read(stamp), state()
    if found == now:
        return None
    if found | {"tried with": tried} == now:
        _say(f"{archive}: trying the changed job with it")
        trial = check_archive(archive, architecture, package)
    else:
        _say(f"{archive}: getting wheels for {architecture} (some 130 MB), once")
        trial = makers.archive(archive, architecture, package)
    _put(stamp, json.dumps(state(), indent=2).encode())
    return f"{archive}: {_size(archive)}; {trial}"


def _read(stamp: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(stamp.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None, makers: Makers = MAKERS) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        "python -m bootstrap.package", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        help=f"of the workers (default: `architecture` in the context of cdk.json, else {ARCHITECTURES[0]})",
    )
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder to fill (default: %(default)s)")
    options = parser.parse_args(arguments)

    def command() -> None:
        architecture = options.architecture or default_architecture()
        built = build(options.output, architecture, requested_model(os.environ), makers=makers)
        for line in built or [f"{options.output}: up to date"]:
            _say(line)

    return exit_status(command, new_log(), interrupted="interrupted; what was built before stays")


if __name__ == "__main__":
    sys.exit(main())

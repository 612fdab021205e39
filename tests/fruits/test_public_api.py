"""What `import fruits` promises: a name that is not here is internal."""

import inspect
import re
import tomllib
from pathlib import Path

import fruits
import job

ROOT = Path(__file__).resolve().parents[2]

NAMES = {
    "JobError",
    "RunError",
    "Settings",
    "__version__",
    "featurize",
    "read_features",
    "read_results",
    "reduce",
}


def test_these_names_are_public_and_no_others() -> None:
    assert set(fruits.__all__) == NAMES
    public = {name for name, value in vars(fruits).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == NAMES - {"__version__"}


def test_every_public_name_is_documented() -> None:
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(getattr(fruits, name)), name


def test_the_version_is_stated_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "job.__version__"}
    assert fruits.__version__ == job.__version__
    assert job.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_pins_satisfy_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins: dict[str, str] = {}
    for file in ROOT.glob("requirements*.txt"):
        for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", file.read_text()):
            pins.setdefault(name.lower(), version)
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    for line in asked:
        name, bound = re.fullmatch(r"([\w.-]+)(?:\[.*\])?(?:>=([\d.]+))?.*", line).groups()  # type: ignore[union-attr]
        if name != "fruits":
            assert name in pins, f"{name} is not pinned"
            assert numbers(pins[name]) >= numbers(bound or "0"), f"{name} {pins[name]} is below {bound}"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))

"""The pages on what is written and on operations name what the code writes and says."""

import re

import fruits
from job.curation.report_lists import SCHEMAS
from job.features.table import SCHEMA
from job.images.rejection import REASONS
from job.results.index import index_schema
from job.results.run_record import RunRecord
from job.results.tables import RESULTS_SCHEMA
from tests.docs.blocks import ROOT

OUTPUTS = (ROOT / "docs/outputs.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def section(title: str) -> str:
    return re.split(r"^##+ ", OUTPUTS.split(f"# {title}\n", 1)[1], flags=re.M)[0]


def named(text: str) -> list[str]:
    """Return what the first cells of the tables of a text name."""
    return [name for cell in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([^`]+)`", cell)]


def test_every_column_and_key_is_on_the_page() -> None:
    assert named(section("The answer")) == RESULTS_SCHEMA.names
    assert sorted(named(section("The features table"))) == sorted(SCHEMA.names)
    assert sorted(named(section("The index"))) == sorted(index_schema(1).names)
    assert sorted(named(section("run.json"))) == sorted({*RunRecord.__dataclass_fields__} - {"fingerprint"})


def test_every_reason_is_on_the_page() -> None:
    assert tuple(named(section("Reasons for a rejection"))) == REASONS


def test_the_lists_of_the_report_are_on_the_page() -> None:
    rows = dict(re.findall(r"^\| `(\w+\.csv)` \| `(.*?)` \|", section("The lists of the report"), re.M))
    assert rows == {name: ";".join(columns.names) for name, columns in SCHEMAS.items()}


def test_every_message_among_the_symptoms_is_in_the_code() -> None:
    source = "\n".join(path.read_text() for room in ("job", "lookup") for path in (ROOT / room).rglob("*.py"))
    flat = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go on in the next line
    codes = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (.*?) \|", OPERATIONS, re.M)))
    parts = [part.strip() for code in codes for part in code.split("…") if part.strip()]
    assert len(parts) > 15
    assert [part for part in parts if part not in flat] == []


def test_every_public_name_is_on_the_page_of_the_python_api() -> None:
    assert sorted(named((ROOT / "docs/python-api.md").read_text())) == sorted(fruits.__all__)

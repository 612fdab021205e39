"""Names in the features table."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from job.features.layout import new_run
from tests.job.features.stores import FINGERPRINT, write_wave


@pytest.mark.parametrize(
    ("waves", "first"),
    [
        ([], None),
        (["20200101T000000-ffffff"], None),
        (["20990101T000000-ffffff"], "20990101T000001"),
        (["20990101T000000-ffffff", "20991231T235959-000000", "20980101T000000-ffffff"], "21000101T000000"),
        (["by-hand", "20990101T000000-ffffff"], "20990101T000001"),
    ],
)
def test_a_new_run_comes_after_all_waves_though_the_clock_was_set_back(
    tmp_path: Path, waves: list[str], first: str | None
) -> None:
    for wave in waves:
        write_wave(str(tmp_path), wave, 1)
    write_wave(str(tmp_path), "21990101T000000-ffffff", 1, fingerprint="f" * 16)  # another model's
    before = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    run = new_run(str(tmp_path), FINGERPRINT)
    after = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    assert run[:15] == first or before <= run[:15] <= after
    assert all(run > wave for wave in waves if wave[0] == "2")

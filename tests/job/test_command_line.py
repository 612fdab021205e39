"""The frame of every command: where its log goes."""

import tempfile
from pathlib import Path

import pytest

from job.command_line import exit_status, new_log


def fail() -> int:
    raise ValueError("unexpected")


def test_a_log_is_in_a_folder_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    log = new_log()
    assert log.path.parent == tmp_path / "state" / "fruits"
    assert not (tmp_path / "state").exists()
    assert exit_status(fail, log) == 1
    assert f"ValueError: unexpected (details: {log.path})" in capsys.readouterr().err
    assert "ValueError: unexpected" in log.path.read_text()


def test_without_xdg_it_is_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert new_log().path.parent == tmp_path / ".local" / "state" / "fruits"


@pytest.mark.parametrize("state", ["relative", "{tmp}/file"])
def test_where_that_cannot_be_written_each_command_has_a_temporary_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", state.format(tmp=tmp_path))
    first, second = new_log().path.parent, new_log().path.parent
    assert first != second
    assert first.parent == second.parent == Path(tempfile.gettempdir())
    assert exit_status(fail, new_log()) == 1

"""The frame of every command: where its log goes."""

import os
import shutil
import stat
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


@pytest.mark.parametrize("state", ["relative", "{tmp}/file", "{tmp}/shared", "{tmp}/{long}"])
def test_where_that_is_not_the_users_alone_each_command_has_a_temporary_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    (tmp_path / "file").touch(0o700)
    (tmp_path / "shared/fruits").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o1777)  # as a home is that lies in the temporary folder: others can put links into it
    monkeypatch.setenv("XDG_STATE_HOME", state.format(tmp=tmp_path, long=300 * "x"))
    logs = [new_log(), new_log()]
    assert logs[0].path.parent != logs[1].path.parent
    for log in logs:
        assert log.path.parent.parent == Path(tempfile.gettempdir())
        assert exit_status(fail, log) == 1
        assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700
        shutil.rmtree(log.path.parent)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("theirs", [".", ".local", ".local/state/fruits"])
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / theirs).mkdir(parents=True, exist_ok=True)
    os.chown(tmp_path / theirs, 1, 1)
    assert new_log().path.parent.parent == Path(tempfile.gettempdir())


def test_only_the_user_can_read_logs_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "folder").mkdir()  # as permissive as this process makes them
    own, of_output = new_log(), new_log(tmp_path / "logs")
    assert exit_status(fail, own) == exit_status(fail, of_output) == 1
    assert stat.S_IMODE(own.path.parent.stat().st_mode) == 0o700
    assert of_output.path.parent.stat().st_mode == (tmp_path / "folder").stat().st_mode

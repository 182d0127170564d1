"""Folders that killed test runs left in memory go; those of anybody else stay."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes import run_folder


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def left(memory: Path, name: str) -> Path:
    folder = memory / name
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "data").write_text("rows")
    return folder


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path, gone: int) -> None:
    left(tmp_path, f"t-{gone}")
    others = {f"t-{os.getppid()}", "t-", "t-abcdefgh", "t-99999999", f"u-{gone}", f"t-0{gone}"}
    for name in others:
        left(tmp_path, name)

    run_folder.remove_left_behind(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_run_whose_process_cannot_be_seen_from_here_keeps_its_folder(
    tmp_path: Path, gone: int
) -> None:
    folder = left(tmp_path, f"t-{gone}")
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    run_folder.remove_left_behind(tmp_path)
    kept = folder.exists()
    os.close(held)
    run_folder.remove_left_behind(tmp_path)

    assert (kept, folder.exists()) == (True, False)


def test_another_users_folder_is_kept(
    tmp_path: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = left(tmp_path, f"t-{gone}")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)

    run_folder.remove_left_behind(tmp_path)

    assert folder.exists()


def test_a_link_is_not_followed(tmp_path: Path, gone: int) -> None:
    elsewhere = left(tmp_path, "elsewhere")
    (tmp_path / f"t-{gone}").symlink_to(elsewhere)

    run_folder.remove_left_behind(tmp_path)

    assert (elsewhere / "postgres" / "data").exists()


def test_a_run_has_a_folder_by_its_process_and_takes_over_none(tmp_path: Path) -> None:
    left(tmp_path, f"t-{os.getpid()}")
    assert run_folder.make(tmp_path) is None

    run_folder.remove_left_behind(tmp_path)
    folder = run_folder.make(tmp_path)
    run_folder.remove_left_behind(tmp_path)

    assert folder == tmp_path / f"t-{os.getpid()}"
    assert folder.exists()
    assert not list(folder.iterdir())

"""Old files leave only into a complete archive, and come back byte-identical."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tools.adapters.archive import (
    ArchivePlan,
    observe_archive,
    plan_archive,
    read_archive,
    restore_archive,
    write_archive,
)
from tools.adapters.archive_plan import MAX_FILES
from tools.kit.errors import Conflict, Invalid, Unavailable

MONTH_AGO = datetime.now(UTC) - timedelta(days=30)
KEY = "01HZX3"
Facts = dict[str, tuple[str, int, int]]


def old(path: Path, content: bytes = b"old\n" * 500, *, mode: int = 0o640) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    stamp = 1_600_000_000_123_456_789
    os.utime(path, ns=(stamp, stamp))
    return path


def facts(folder: Path) -> Facts:
    """Digest, mode and time of every regular file."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    folder = tmp_path / "data folder" / "exports"
    old(folder / "a.csv")
    old(folder / "2020" / "ünicode é.csv", os.urandom(300_000), mode=0o4750)
    old(folder / "2020" / "empty", b"")
    (folder / "new.csv").write_text("new")
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def plan(folder: Path, archive: Path) -> ArchivePlan:
    return plan_archive([folder], MONTH_AGO, destination=archive)


@pytest.mark.parametrize("compress", [False, True])
def test_a_restore_gives_back_bytes_modes_and_times(
    exports: Path, archive: Path, *, compress: bool
) -> None:
    before = facts(exports)

    record = write_archive(plan(exports, archive), archive, KEY, compress=compress)

    assert list(facts(exports)) == ["new.csv"]
    assert record.finished
    assert observe_archive(archive, KEY) == "done"
    assert read_archive(archive, KEY) == record
    report = restore_archive(record)
    assert report.complete
    assert len(report.restored) == 3
    assert facts(exports) == before
    assert not list(exports.rglob("*.partial"))


def test_a_removed_folder_comes_back_with_its_files(exports: Path, archive: Path) -> None:
    before = facts(exports)
    record = write_archive(plan(exports, archive), archive, KEY, compress=False)
    shutil.rmtree(exports / "2020")

    restore_archive(record)

    assert facts(exports) == before


def test_restoring_twice_finds_what_is_there(exports: Path, archive: Path) -> None:
    record = write_archive(plan(exports, archive), archive, KEY, compress=True)
    restore_archive(record)

    again = restore_archive(record)

    assert (again.restored, len(again.already_there), again.kept) == ([], 3, [])


def test_a_newer_file_is_never_overwritten(exports: Path, archive: Path) -> None:
    record = write_archive(plan(exports, archive), archive, KEY, compress=False)
    (exports / "a.csv").write_text("written since")

    report = restore_archive(record)

    assert (exports / "a.csv").read_text() == "written since"
    assert [entry.path for entry in report.kept] == [str(exports / "a.csv")]
    assert "newer file" in report.kept[0].reason
    assert not report.complete


def test_the_plan_says_what_it_would_not_take(exports: Path, archive: Path, tmp_path: Path) -> None:
    secret = old(tmp_path / "outside" / "secret")
    (exports / "link").symlink_to(secret)
    (exports / "linked").symlink_to(secret.parent)
    os.mkfifo(exports / "pipe")
    os.link(old(exports / "one"), exports / "two")

    found = plan(exports, archive)

    reasons = {Path(entry.path).name: entry.reason for entry in found.skipped}
    assert reasons == {
        "link": "a symbolic link",
        "linked": "a symbolic link",
        "pipe": "not a regular file",
        "one": "it has other names (hard links), so archiving frees nothing",
        "two": "it has other names (hard links), so archiving frees nothing",
    }
    assert sorted(file.relative for file in found.files) == [
        "2020/empty",
        "2020/ünicode é.csv",
        "a.csv",
    ]
    assert found.total_bytes == 302_000


def test_a_declared_folder_that_is_a_link_or_missing_is_skipped_with_its_reason(
    exports: Path, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(exports)

    found = plan_archive([tmp_path / "alias", tmp_path / "none"], MONTH_AGO, destination=archive)

    assert found.files == []
    assert [entry.reason for entry in found.skipped] == [
        "the folder is a symbolic link",
        "the folder does not exist",
    ]


def test_a_folder_swapped_for_a_link_after_the_plan_leads_nowhere(
    exports: Path, archive: Path, tmp_path: Path
) -> None:
    planned = plan(exports, archive)
    (exports / "2020").rename(tmp_path / "moved")
    (exports / "2020").symlink_to(tmp_path / "moved")

    record = write_archive(planned, archive, KEY, compress=False)

    assert [file.relative for file in record.files] == ["a.csv"]
    assert len(record.left) == 2
    assert (tmp_path / "moved" / "empty").exists()


def test_a_restore_does_not_follow_a_link_that_appeared(
    exports: Path, archive: Path, tmp_path: Path
) -> None:
    record = write_archive(plan(exports, archive), archive, KEY, compress=False)
    shutil.rmtree(exports / "2020")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (exports / "2020").symlink_to(elsewhere)

    report = restore_archive(record)

    assert list(elsewhere.iterdir()) == []
    assert {entry.reason for entry in report.kept} == {
        "a folder on its way is now a symbolic link or a file"
    }
    assert report.restored == [str(exports / "a.csv")]


def test_a_file_that_changed_since_the_plan_stays(exports: Path, archive: Path) -> None:
    planned = plan(exports, archive)
    (exports / "a.csv").write_text("changed")

    record = write_archive(planned, archive, KEY, compress=False)

    assert (exports / "a.csv").read_text() == "changed"
    assert [entry.reason for entry in record.left] == ["it changed since the plan"]
    assert len(record.files) == 2


def test_a_file_that_changes_while_the_archive_is_checked_stays(
    exports: Path, archive: Path
) -> None:
    def interfere(step: str) -> None:
        if step == "verified":
            (exports / "a.csv").write_text("late")

    record = write_archive(plan(exports, archive), archive, KEY, compress=False, reached=interfere)

    assert (exports / "a.csv").read_text() == "late"
    assert [entry.reason for entry in record.left] == ["it changed after it was archived"]


CRASH = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tools.adapters import archive
folder, destination, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def reached(step):
    if step == at:
        os.kill(os.getpid(), signal.SIGKILL)
if at == "half-removed":
    plain, count = os.unlink, 0
    def unlink(*args, **kwargs):
        global count
        count += 1
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(*args, **kwargs)
    os.unlink = unlink
plan = archive.plan_archive(
    [folder], datetime.now(UTC) - timedelta(days=30), destination=destination)
archive.write_archive(plan, destination, "01HZX3", compress=True, reached=reached)
"""


@pytest.mark.parametrize(
    ("at", "observed", "gone"),
    [
        ("archived", "half_done", 0),
        ("verified", "half_done", 0),
        ("recorded", "half_done", 0),
        ("half-removed", "half_done", 1),
        ("removed", "done", 3),
    ],
)
def test_a_kill_at_any_step_loses_nothing_and_the_same_key_finishes(
    exports: Path, archive: Path, at: str, observed: str, gone: int
) -> None:
    before = facts(exports)
    planned = plan(exports, archive)
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, str(exports), str(archive), at], check=False
    )
    assert crashed.returncode == -signal.SIGKILL

    assert observe_archive(archive, KEY) == observed
    left = facts(exports)
    assert len(before) - len(left) == gone
    record = read_archive(archive, KEY)
    assert (record is not None) == (at not in ("archived", "verified"))
    if record is not None:
        held = {file.relative for file in record.files}
        assert held | set(left) == set(before)

    finished = write_archive(planned, archive, KEY, compress=True)

    assert finished.finished
    assert observe_archive(archive, KEY) == "done"
    assert list(facts(exports)) == ["new.csv"]
    assert sorted(path.name for path in archive.iterdir()) == [f"{KEY}.json", f"{KEY}.tar.gz"]
    restore_archive(finished)
    assert facts(exports) == before


def test_a_damaged_archive_is_unknown_and_restores_nothing(exports: Path, archive: Path) -> None:
    record = write_archive(plan(exports, archive), archive, KEY, compress=False)
    content = bytearray(Path(record.path).read_bytes())
    content[1000] ^= 1
    Path(record.path).write_bytes(content)

    assert observe_archive(archive, KEY) == "unknown"
    with pytest.raises(Conflict, match="changed since it was made"):
        restore_archive(record)
    assert list(facts(exports)) == ["new.csv"]


def test_a_lost_archive_or_an_unreadable_record_is_unknown(exports: Path, archive: Path) -> None:
    record = write_archive(plan(exports, archive), archive, KEY, compress=False)
    Path(record.path).rename(archive / "moved")
    assert observe_archive(archive, KEY) == "unknown"
    with pytest.raises(Unavailable):
        restore_archive(record)

    (archive / f"{KEY}.json").write_text("{")
    assert observe_archive(archive, KEY) == "unknown"
    with pytest.raises(Unavailable, match="can't be read"):
        read_archive(archive, KEY)


def test_an_archive_folder_inside_the_data_is_refused(exports: Path) -> None:
    with pytest.raises(Invalid, match="lies inside"):
        plan_archive([exports], MONTH_AGO, destination=exports / "archive")


def test_a_key_that_is_a_path_is_refused(exports: Path, archive: Path) -> None:
    with pytest.raises(Invalid, match="not an archive's key"):
        write_archive(plan(exports, archive), archive, "../etc", compress=False)


def test_the_same_files_give_the_same_digest_and_a_change_another(
    exports: Path, archive: Path
) -> None:
    first = plan(exports, archive)
    assert plan(exports, archive).digest == first.digest
    old(exports / "a.csv", b"x")
    assert plan(exports, archive).digest != first.digest


def test_on_one_filesystem_the_plan_counts_the_compressed_archive(
    exports: Path, archive: Path
) -> None:
    found = plan(exports, archive)

    assert found.same_filesystem
    assert 299_000 < found.archive_bytes <= found.total_bytes
    assert found.freed_bytes < found.disk_bytes
    record = write_archive(found, archive, KEY, compress=True)
    assert abs(record.bytes_freed - found.freed_bytes) < 20_000


def test_more_files_than_one_archive_takes_are_said(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(MAX_FILES + 3):
        descriptor = os.open(folder / f"{number:06}", os.O_CREAT | os.O_WRONLY)
        os.utime(descriptor, (1, number))
        os.close(descriptor)

    found = plan(folder, archive)

    assert len(found.files) == MAX_FILES
    assert found.skipped[0].reason == f"and newer: one archive takes {MAX_FILES} files"

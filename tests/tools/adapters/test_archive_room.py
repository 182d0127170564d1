"""An archive or a restore that finds no room leaves everything whole."""

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tools.adapters.archive import (
    ArchivePlan,
    observe_archive,
    plan_archive,
    restore_archive,
    write_archive,
)
from tools.kit.errors import Unavailable

MONTH_AGO = datetime.now(UTC) - timedelta(days=30)
KEY = "01HZX3"


def old(path: Path, content: bytes = b"old\n" * 500) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    stamp = 1_600_000_000_123_456_789
    os.utime(path, ns=(stamp, stamp))
    return path


def facts(folder: Path) -> dict[str, str]:
    """Digest of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*")}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def plan(folder: Path, archive: Path) -> ArchivePlan:
    return plan_archive([folder], MONTH_AGO, destination=archive)


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "academy-test", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield folder
    for _ in range(50):
        if subprocess.run(["umount", folder], check=False).returncode == 0:
            break
        time.sleep(0.1)


@pytest.mark.parametrize("compress", [False, True])
def test_a_full_archive_disk_moves_nothing(
    small_filesystem: Path, tmp_path: Path, *, compress: bool
) -> None:
    folder = tmp_path / "exports"
    for number in range(4):
        old(folder / f"{number}.bin", os.urandom(500_000))
    before = facts(folder)
    found = plan(folder, small_filesystem)
    assert not found.same_filesystem
    assert found.freed_bytes == found.disk_bytes

    with pytest.raises(Unavailable, match=r"no room for .* nothing was moved"):
        write_archive(found, small_filesystem, KEY, compress=compress)

    assert facts(folder) == before
    assert list(small_filesystem.iterdir()) == []
    assert observe_archive(small_filesystem, KEY) == "not_done"


def test_a_restore_without_room_says_how_far_it_came_and_goes_on_later(
    small_filesystem: Path, archive: Path
) -> None:
    for number in range(3):
        old(small_filesystem / "exports" / f"{number}.bin", os.urandom(250_000))
    before = facts(small_filesystem / "exports")
    found = plan(small_filesystem / "exports", archive)
    record = write_archive(found, archive, KEY, compress=False)
    filler = small_filesystem / "filler"
    filler.write_bytes(os.urandom(600_000))

    with pytest.raises(Unavailable, match=r"1 files are back, 2 are not: there is no room"):
        restore_archive(record)

    filler.unlink()
    report = restore_archive(record)
    assert (len(report.restored), len(report.already_there)) == (2, 1)
    assert facts(small_filesystem / "exports") == before

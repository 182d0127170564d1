"""Old files into one verified archive, and only then out of their folders.

An archive under a key is `<key>.tar` or `<key>.tar.gz` with `<key>.json`, its record, in one
folder. The record is the turning point: it is written after the archive was read back and found
complete, and before the first original goes. Everything here blocks: call it in a thread.
"""

import contextlib
import errno
import fcntl
import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, cast

from tools.adapters.archive_plan import ArchivePlan, LeftFile, PlannedFile, plan_archive
from tools.adapters.archive_record import (
    ArchivedFile,
    ArchiveRecord,
    check_key,
    file_sha256,
    keep_record,
    observe_archive,
    read_archive,
    unrecorded,
)
from tools.adapters.restore import RestoreReport, restore_archive
from tools.adapters.rooted import parent_of, sync_folder
from tools.kit.errors import Unavailable

__all__ = [
    "ArchivePlan",
    "ArchiveRecord",
    "ArchivedFile",
    "LeftFile",
    "PlannedFile",
    "RestoreReport",
    "discard_unrecorded",
    "observe_archive",
    "plan_archive",
    "read_archive",
    "restore_archive",
    "write_archive",
]

CHUNK = 1024 * 1024
Step = Literal["archived", "verified", "recorded", "removed"]


def write_archive(
    plan: ArchivePlan,
    destination: Path,
    key: str,
    *,
    compress: bool,
    reached: Callable[[Step], None] = lambda step: None,
) -> ArchiveRecord:
    """Archive the planned files under *key*, then remove their originals; idempotent under *key*.

    A file that changed since the plan is left and reported. Called again after a crash it begins
    anew before the record, and goes on removing after it; called while it still runs, it waits.

    Args:
        plan: from `plan_archive`.
        destination: the archive folder; made when missing.
        key: letters, digits, `-` and `_`.
        compress: gzip, for an archive on the same filesystem.
        reached: told after each step (for tests that crash there).

    Raises:
        Invalid: a malformed key.
        Unavailable: no room, no right to write, or the archive read back wrong; every original
            stands.
    """
    check_key(key)
    with contextlib.ExitStack() as stack:
        try:
            destination.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_alone(destination))
        except OSError as error:
            raise _no_archive(destination, plan, error) from error
        record = read_archive(destination, key)
        if record is None:
            try:
                record = _write(plan, destination, key, compress=compress, reached=reached)
            except OSError as error:
                discard_unrecorded(destination, key)
                raise _no_archive(destination, plan, error) from error
        if not record.finished:
            record = _remove_originals(record, destination, plan)
            reached("removed")
    return record


def discard_unrecorded(destination: Path, key: str) -> None:
    """Remove what a crash left of an archive that has no record; every original still stands.

    Raises:
        Unavailable: there is a record that can't be read.
        OSError: it can't be removed.
    """
    if read_archive(destination, key) is None:
        for path in unrecorded(destination, key):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Wait for whoever writes an archive here: a call that was given up goes on in its thread."""
    file = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Where a folder can't be locked (NFS), the read-back alone finds a second writer.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


class _Reader:
    """Reads exactly *size* bytes for the archive, hashed, even of a file that shrinks or fails."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._rest = size
        self.hash = hashlib.sha256()
        self.problem = ""

    def read(self, wanted: int = -1) -> bytes:
        amount = self._rest if wanted < 0 else min(wanted, self._rest)
        try:
            content = b"" if self.problem else self._file.read(amount)
        except OSError as error:
            content, self.problem = b"", f"it can't be read: {error.strerror}"
        if len(content) < amount:
            self.problem = self.problem or "it shrank while it was read"
            content += bytes(amount - len(content))
        self._rest -= amount
        self.hash.update(content)
        return content


def _write(
    plan: ArchivePlan,
    destination: Path,
    key: str,
    *,
    compress: bool,
    reached: Callable[[Step], None],
) -> ArchiveRecord:
    partial = _partial(destination, key)
    files: list[ArchivedFile] = []
    left: list[LeftFile] = []
    with partial.open("wb") as raw:
        os.fchmod(raw.fileno(), 0o600)
        with contextlib.ExitStack() as stack:
            target: IO[bytes] = raw
            if compress:
                packed = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
                target = cast("IO[bytes]", packed)
            tar = stack.enter_context(
                tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)
            )
            for planned in plan.files:
                try:
                    files.append(_add(tar, planned))
                except _Changed as change:
                    path = f"{planned.root}/{planned.relative}"
                    left.append(LeftFile(path=path, reason=str(change)))
        raw.flush()
        os.fsync(raw.fileno())
        # What is read back shall come from the disk, not from what was just written.
        os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reached("archived")
    _read_back(partial, files, compressed=compress)
    reached("verified")
    final = destination / (f"{key}.tar.gz" if compress else f"{key}.tar")
    partial.replace(final)
    sync_folder(destination)
    record = ArchiveRecord(
        key=key,
        path=str(final),
        sha256=file_sha256(final),
        compressed=compress,
        files=files,
        left=left,
        bytes_archived=sum(file.size for file in files),
        bytes_freed=0,
        finished=False,
    )
    keep_record(record, destination)
    reached("recorded")
    return record


class _Changed(Exception):
    """The file is not what was planned; the message says how."""


def _add(tar: tarfile.TarFile, planned: PlannedFile) -> ArchivedFile:
    """Put one file into the archive, if it is still the planned one before and after reading."""
    try:
        with parent_of(Path(planned.root), planned.relative) as (folder, name):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise _Changed(f"it can't be opened any more: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or not _same(facts, planned):
            raise _Changed("it changed since the plan")
        entry = tarfile.TarInfo(f"{planned.root}/{planned.relative}".lstrip("/"))
        entry.size, entry.mtime = facts.st_size, int(facts.st_mtime)
        entry.mode = stat.S_IMODE(facts.st_mode)
        entry.uid, entry.gid = facts.st_uid, facts.st_gid
        reader = _Reader(file, facts.st_size)
        tar.addfile(entry, cast("IO[bytes]", reader))
        if reader.problem:
            raise _Changed(reader.problem)
        if not _same(os.fstat(file.fileno()), planned):
            raise _Changed("it changed while it was read")
    return ArchivedFile(
        **planned.model_dump(),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        sha256=reader.hash.hexdigest(),
    )


def _same(facts: os.stat_result, planned: PlannedFile) -> bool:
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (
        planned.inode,
        planned.size,
        planned.mtime_ns,
    )


def _read_back(path: Path, files: Sequence[ArchivedFile], *, compressed: bool) -> None:
    """Compare the archive with what was read into it.

    Raises:
        Unavailable: it holds something else; the partial archive is removed.
    """
    expected = {f"{file.root}/{file.relative}".lstrip("/"): file.sha256 for file in files}
    found: dict[str, str] = {}
    try:
        with tarfile.open(path, "r|gz" if compressed else "r|") as tar:
            for entry in tar:
                if (content := tar.extractfile(entry)) is not None:
                    digest = hashlib.sha256()
                    while chunk := content.read(CHUNK):
                        digest.update(chunk)
                    found[entry.name] = digest.hexdigest()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"The archive read back as broken ({error}); nothing moved.") from error
    wrong = [name for name, digest in expected.items() if found.get(name) != digest]
    if wrong:
        path.unlink(missing_ok=True)
        raise Unavailable(f"The archive read back wrong at {wrong[0]}; nothing was moved.")


def _remove_originals(record: ArchiveRecord, destination: Path, plan: ArchivePlan) -> ArchiveRecord:
    left = list(record.left)
    freed = 0
    for file in record.files:
        try:
            with parent_of(Path(file.root), file.relative) as (folder, name):
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISREG(facts.st_mode) or not _same(facts, file):
                    reason = "it changed after it was archived"
                    left.append(LeftFile(path=f"{file.root}/{file.relative}", reason=reason))
                    continue
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            # Removed before a crash, or by its owner: gone is what was wanted.
            pass
        except OSError as error:
            reason = f"it can't be removed: {error.strerror}"
            left.append(LeftFile(path=f"{file.root}/{file.relative}", reason=reason))
            continue
        freed += file.disk_bytes
    taken = Path(record.path).stat().st_blocks * 512 if plan.same_filesystem else 0
    finished = record.model_copy(
        update={"left": left, "bytes_freed": max(0, freed - taken), "finished": True}
    )
    keep_record(finished, destination)
    return finished


def _partial(destination: Path, key: str) -> Path:
    return destination / f"{key}.tar.partial"


def _no_archive(destination: Path, plan: ArchivePlan, error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"The archive folder {destination} has no room for {plan.archive_bytes} bytes; "
            "nothing was moved. Name a larger one with ACADEMY_ARCHIVE."
        )
    return Unavailable(f"The archive can't be written to {destination}: {error}. Nothing moved.")

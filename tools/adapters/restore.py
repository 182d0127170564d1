"""Archived files back to where they were: byte-identical, with mode, owner and time."""

import errno
import hashlib
import os
import tarfile
from pathlib import Path
from typing import IO

from tools.adapters.archive_plan import LeftFile
from tools.adapters.archive_record import ArchivedFile, ArchiveRecord, file_sha256
from tools.adapters.rooted import parent_of
from tools.kit.errors import Conflict, Unavailable
from tools.kit.operation import Value

CHUNK = 1024 * 1024


class RestoreReport(Value):
    """What a restore did."""

    restored: list[str]
    already_there: list[str]
    """Files of the same content that stand where theirs would go."""
    kept: list[LeftFile]
    """Not restored, because something else stands there now."""

    @property
    def complete(self) -> bool:
        """Every archived file is back."""
        return not self.kept


def restore_archive(record: ArchiveRecord) -> RestoreReport:
    """Put every file of the archive back; never over one that is there. Blocks.

    Called again it finds what it restored. The archive stays.

    Raises:
        Conflict: the archive is not the one that was recorded; nothing was restored.
        Unavailable: the archive can't be read, or there is no room; what was restored stands.
    """
    path = Path(record.path)
    try:
        if file_sha256(path) != record.sha256:
            raise Conflict(f"The archive {path} was changed since it was made; nothing restored.")
    except OSError as error:
        raise Unavailable(f"The archive {path} can't be read: {error}.") from error
    wanted = {f"{file.root}/{file.relative}".lstrip("/"): file for file in record.files}
    restored: list[str] = []
    there: list[str] = []
    kept: list[LeftFile] = []
    try:
        with tarfile.open(path, "r|gz" if record.compressed else "r|") as tar:
            for entry in tar:
                file = wanted.pop(entry.name, None)
                content = tar.extractfile(entry) if file is not None else None
                if file is None or content is None:
                    continue
                name = f"{file.root}/{file.relative}"
                outcome = _restore(file, content, record.key)
                if outcome == "restored":
                    restored.append(name)
                elif outcome == "there":
                    there.append(name)
                else:
                    kept.append(LeftFile(path=name, reason=outcome))
    except OSError as error:
        room = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "there is no room for them" if room else str(error)
        raise Unavailable(
            f"{len(restored)} files are back, {len(wanted) + 1} are not: {reason}. "
            "The archive is untouched; restore again once that is mended."
        ) from error
    kept += [LeftFile(path=name, reason="it is missing in the archive") for name in wanted]
    return RestoreReport(restored=restored, already_there=there, kept=kept)


def _restore(file: ArchivedFile, content: IO[bytes], key: str) -> str:
    """Put one file back; `restored`, `there`, or why it was not."""
    try:
        with parent_of(Path(file.root), file.relative, create=True) as (folder, name):
            return _standing(file, folder, name) or _place(file, content, folder, name, key)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return "a folder on its way is now a symbolic link or a file"
        raise


def _place(file: ArchivedFile, content: IO[bytes], folder: int, name: str, key: str) -> str:
    """Write beside, then link into place: that fails where another file appeared meanwhile."""
    partial = f".{key}.{hashlib.sha256(name.encode()).hexdigest()[:16]}.partial"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as target:
            while chunk := content.read(CHUNK):
                target.write(chunk)
            target.flush()
            _dress(target.fileno(), file)
            os.fsync(target.fileno())
        os.link(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        return "another file appeared there meanwhile"
    finally:
        os.unlink(partial, dir_fd=folder)
    os.fsync(folder)
    return "restored"


def _standing(file: ArchivedFile, folder: int, name: str) -> str | None:
    """What stands at the file's place: nothing (None), the same content, or something else."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"something else is there now: {error.strerror}"
    with os.fdopen(descriptor, "rb") as standing:
        facts = os.fstat(standing.fileno())
        same_size = facts.st_size == file.size
        if same_size and hashlib.file_digest(standing, "sha256").hexdigest() == file.sha256:
            return "there"
        newer = "a newer" if facts.st_mtime_ns > file.mtime_ns else "another"
        return f"{newer} file of that name is there now; it was not overwritten"


def _dress(descriptor: int, file: ArchivedFile) -> None:
    """Owner (as root), mode and times, in the order that keeps each."""
    if os.geteuid() == 0:
        os.fchown(descriptor, file.uid, file.gid)
    os.fchmod(descriptor, file.mode)
    os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))

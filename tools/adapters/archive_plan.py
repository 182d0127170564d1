"""Which old files of a service's folders could be archived, and what that would really free."""

import gzip
import os
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tools.adapters.rooted import parent_of
from tools.kit.digest import digest
from tools.kit.errors import Invalid, Unavailable
from tools.kit.operation import Value

MAX_FILES = 20_000
"""Per archive; the rest waits for the next one, and the plan says so."""
SAMPLE_FILES, SAMPLE_BYTES = 16, 64 * 1024
"""What a plan compresses to estimate an archive on the same filesystem."""


class PlannedFile(Value):
    """One file as it was when the archive was planned."""

    root: str
    """The declared folder, absolute."""
    relative: str
    size: int
    disk_bytes: int
    mtime_ns: int
    inode: int


class LeftFile(Value):
    """A file that stays, and why."""

    path: str
    reason: str


class ArchivePlan(Value):
    """What would be archived."""

    files: list[PlannedFile]
    skipped: list[LeftFile]
    total_bytes: int
    """Sum of the files' sizes."""
    disk_bytes: int
    """What their folders' filesystem gives back when they go."""
    same_filesystem: bool
    """The archive lies where the files lie, so it takes part of the room it makes."""
    archive_bytes: int
    """Size of the archive: estimated from a sample where it is compressed."""

    @property
    def digest(self) -> str:
        """Digest of which files it is about, as they were."""
        return digest([[f.root, f.relative, f.size, f.mtime_ns, f.inode] for f in self.files])

    @property
    def freed_bytes(self) -> int:
        """What the filesystem really gains."""
        return max(0, self.disk_bytes - (self.archive_bytes if self.same_filesystem else 0))


def plan_archive(
    folders: Sequence[Path], older_than: datetime, *, destination: Path
) -> ArchivePlan:
    """Which regular files below *folders* were last changed before *older_than*.

    Symbolic links are never followed; what can't be archived is in `skipped` with its reason.

    Raises:
        Invalid: *destination* lies inside one of the folders.
        Unavailable: one of the folders can't be read.
    """
    limit_ns = int(older_than.timestamp() * 1_000_000_000)
    files: list[PlannedFile] = []
    skipped: list[LeftFile] = []
    device = _device(destination)
    shared = False
    for folder in folders:
        if folder.is_symlink():
            skipped.append(LeftFile(path=str(folder), reason="the folder is a symbolic link"))
            continue
        if destination.resolve().is_relative_to(folder.resolve()):
            raise Invalid(f"The archive folder {destination} lies inside {folder}; move it.")
        try:
            shared = shared or folder.stat().st_dev == device
            _walk(folder, "", limit_ns, files, skipped)
        except FileNotFoundError:
            skipped.append(LeftFile(path=str(folder), reason="the folder does not exist"))
        except OSError as error:
            raise Unavailable(f"{folder} can't be read: {error}.") from error
    files.sort(key=lambda file: (file.mtime_ns, file.root, file.relative))
    if len(files) > MAX_FILES:
        reason = f"and newer: one archive takes {MAX_FILES} files"
        first = files[MAX_FILES]
        skipped.append(LeftFile(path=f"{first.root}/{first.relative}", reason=reason))
        del files[MAX_FILES:]
    total = sum(file.size for file in files)
    return ArchivePlan(
        files=files,
        skipped=skipped,
        total_bytes=total,
        disk_bytes=sum(file.disk_bytes for file in files),
        same_filesystem=shared,
        archive_bytes=int(total * _ratio(files)) if shared else total,
    )


def _walk(
    root: Path, below: str, limit_ns: int, files: list[PlannedFile], skipped: list[LeftFile]
) -> None:
    with os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            relative = f"{below}/{entry.name}" if below else entry.name
            try:
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    _walk(root, relative, limit_ns, files, skipped)
                    continue
            except FileNotFoundError:
                continue
            except OSError as error:
                skipped.append(LeftFile(path=_printable(root, relative), reason=str(error)))
                continue
            if reason := _unfit(relative, facts):
                skipped.append(LeftFile(path=_printable(root, relative), reason=reason))
            elif facts.st_mtime_ns < limit_ns:
                files.append(
                    PlannedFile(
                        root=str(root),
                        relative=relative,
                        size=facts.st_size,
                        disk_bytes=facts.st_blocks * 512,
                        mtime_ns=facts.st_mtime_ns,
                        inode=facts.st_ino,
                    )
                )


def _unfit(relative: str, facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "a symbolic link"
    if not stat.S_ISREG(facts.st_mode):
        return "not a regular file"
    if facts.st_nlink > 1:
        return "it has other names (hard links), so archiving frees nothing"
    try:
        relative.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def _printable(root: Path, relative: str) -> str:
    return f"{root}/{relative}".encode(errors="replace").decode()


def _device(path: Path) -> int | None:
    """The filesystem *path* is on, or will be on once it is made."""
    for candidate in (path, *path.parents):
        try:
            return candidate.stat().st_dev
        except FileNotFoundError:
            continue
    return None


def _ratio(files: Sequence[PlannedFile]) -> float:
    """How much gzip leaves of *files*, from a sample weighted by size (1.0 where none is read)."""
    raw = packed = 0.0
    step = max(1, len(files) // SAMPLE_FILES)
    for file in files[::step][:SAMPLE_FILES]:
        try:
            with parent_of(Path(file.root), file.relative) as (folder, name):
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as opened:
                content = opened.read(SAMPLE_BYTES)
        except OSError:
            continue
        if content:
            raw += file.size
            packed += file.size * len(gzip.compress(content, 6)) / len(content)
    return min(1.0, packed / raw) if raw else 1.0

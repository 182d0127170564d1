"""How full a filesystem is, or a service's share of it."""

import os
from pathlib import Path

from tools.kit.errors import Unavailable
from tools.kit.infrastructure import DiskFacts


def folder_bytes(folder: Path) -> int:
    """Bytes that the regular files below *folder* take on disk; what vanishes meanwhile is 0.

    Raises:
        OSError: the folder itself can't be read.
    """
    total = 0
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            entries = list(os.scandir(current))
        except FileNotFoundError:
            if current == folder:
                raise
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def disk_facts(path: Path, limit: int | None) -> DiskFacts:
    """Facts of the filesystem that holds *path*, or of the *limit* in bytes where that is tighter.

    Raises:
        Unavailable: the path can't be read.
    """
    try:
        figures = os.statvfs(path)
        device = path.stat().st_dev
        used = folder_bytes(path) if limit is not None else 0
    except OSError as error:
        raise Unavailable(f"The disk of {path} can't be read: {error}.") from error
    total = figures.f_blocks * figures.f_frsize
    free = figures.f_bavail * figures.f_frsize
    limited = limit is not None and max(0, limit - used) < free
    if limited and limit is not None:
        total, free = limit, max(0, limit - used)
    inodes = 100.0 * figures.f_favail / figures.f_files if figures.f_files else 100.0
    return DiskFacts(
        path=path,
        total_bytes=total,
        free_bytes=free,
        free_inodes_percent=round(inodes, 2),
        device=device,
        limited=limited,
    )

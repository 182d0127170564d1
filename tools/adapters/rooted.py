"""Files below a root folder, reached step by step so that no symbolic link leads elsewhere."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def parent_of(root: Path, relative: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds *relative* below *root*, and the last name.

    Args:
        root: the folder nothing may lead out of; itself not a symbolic link.
        relative: a path such as `2026/traffic.csv`.
        create: make missing folders on the way.

    Raises:
        ValueError: *relative* is absolute, empty or has `..`.
        OSError: a part is missing, a symbolic link (ELOOP, ENOTDIR), or not a folder.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts:
        raise ValueError(f"{relative!r} is not a path below a folder.")
    if create:
        root.mkdir(parents=True, exist_ok=True)
    current = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            below = os.open(part, _FOLDER, dir_fd=current)
            os.close(current)
            current = below
        yield current, parts[-1]
    finally:
        os.close(current)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder outlive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a private file's content (mode 0600); a crash leaves the old one or the new one.

    Raises:
        OSError: it can't be written; the old content stands.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)

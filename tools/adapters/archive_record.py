"""What an archive keeps about itself in `<key>.json`, and what that tells after a crash."""

import hashlib
import re
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tools.adapters.archive_plan import LeftFile, PlannedFile
from tools.adapters.rooted import write_whole
from tools.kit.errors import Invalid, Unavailable
from tools.kit.operation import Value


class ArchivedFile(PlannedFile):
    """One file as it lies in the archive."""

    mode: int
    uid: int
    gid: int
    sha256: str


class ArchiveRecord(Value):
    """One archive: what is in it, and what was left where it was."""

    key: str
    path: str
    sha256: str
    compressed: bool
    files: list[ArchivedFile]
    left: list[LeftFile]
    bytes_archived: int
    bytes_freed: int
    """What removing the originals gave back, less the archive where it shares their filesystem."""
    finished: bool
    """All originals that should go are gone."""

    def summary(self) -> dict[str, object]:
        """The record without its list of files, as an action's effect keeps it."""
        return {
            "key": self.key,
            "path": self.path,
            "sha256": self.sha256,
            "files": len(self.files),
            "left": [entry.model_dump() for entry in self.left[:20]],
            "bytes_archived": self.bytes_archived,
            "bytes_freed": self.bytes_freed,
        }


def read_archive(destination: Path, key: str) -> ArchiveRecord | None:
    """The record kept under *key*; none where no archive was completed.

    Raises:
        Invalid: a malformed key.
        Unavailable: there is a record that can't be read.
    """
    check_key(key)
    path = destination / f"{key}.json"
    try:
        return ArchiveRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unavailable(f"The archive's record {path} can't be read: {error}.") from error


def observe_archive(
    destination: Path, key: str
) -> Literal["done", "not_done", "half_done", "unknown"]:
    """Whether the archive of *key* was made, from the files alone.

    `half_done` where a crash left an archive without its record, or originals that the record says
    should go: `write_archive` under the same key does the rest. `unknown` where a record stands
    without its exact archive.
    """
    try:
        record = read_archive(destination, key)
        if record is None:
            begun = any(path.exists() for path in unrecorded(destination, key))
            return "half_done" if begun else "not_done"
        if file_sha256(Path(record.path)) != record.sha256:
            return "unknown"
        return "done" if record.finished else "half_done"
    except (Unavailable, OSError):
        return "unknown"


def unrecorded(destination: Path, key: str) -> list[Path]:
    """Where an archive of *key* may lie before its record is written: being written, or whole."""
    return [destination / f"{key}{ending}" for ending in (".tar.partial", ".tar", ".tar.gz")]


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's content.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_record(record: ArchiveRecord, destination: Path) -> None:
    """Write the record so that a crash leaves the old or the new one.

    Raises:
        OSError: it can't be written.
    """
    write_whole(destination / f"{record.key}.json", record.model_dump_json().encode())


def check_key(key: str) -> None:
    """Refuse what can't be a file's name.

    Raises:
        Invalid: anything but letters, digits, `-` and `_`, 100 at most.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", key):
        raise Invalid(f"{key!r} is not an archive's key: letters, digits, `-` and `_`.")

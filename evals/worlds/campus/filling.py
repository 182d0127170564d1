"""Fills a service's share of a disk with old files that archiving may take away again, safely."""

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tools.adapters.disk import disk_facts
from tools.kit.errors import Conflict, Forbidden, Unavailable
from tools.kit.infrastructure import DiskFacts, ServiceSpec

LARGEST = 512 * 1024 * 1024
"""More than this is never written: filling a large disk would break the machine, not campus."""
MARGIN = 2.0
"""Percent below the alarm, so that a file the service drops doesn't lift it again."""
FILE_BYTES = 4 * 1024 * 1024
PREFIX = "traffic-sample-"
BLOCK_LINES = 1000
LINE = "2020-01-01T00:00:00+00:00,{number:012},0\n"


@dataclass(frozen=True)
class Filled:
    """What was written."""

    folder: Path
    files: int
    bytes_written: int
    before: DiskFacts
    after: DiskFacts


@dataclass(frozen=True)
class Filling:
    """What filling would take."""

    service: ServiceSpec
    folder: Path
    bytes: int
    before: DiskFacts


def measure(service: ServiceSpec, home: Path, *, free_percent: float) -> Filling:
    """How much brings the service's disk below *free_percent* free, and whether that is safe.

    Raises:
        Conflict: it is that full already.
        Forbidden: that can't be done safely here; says what would make it safe.
        Unavailable: the folder can't be read.
    """
    folder = service.data_folder
    if folder is None or not service.archivable:
        raise Forbidden(
            f"{service.name} has no archivable folder below a data folder in fleet.toml, so "
            "there is nothing to fill that could be repaired."
        )
    before = disk_facts(folder, service.data_limit_bytes)
    if before.free_bytes < before.total_bytes * free_percent / 100:
        raise Conflict(f"The disk of {service.name} is that full already.")
    wanted = before.free_bytes - int(before.total_bytes * max(0.0, free_percent - MARGIN) / 100)
    _check_safe(service, folder, home, wanted, limited=before.limited)
    return Filling(service, service.archivable[0], wanted, before)


def fill(filling: Filling, *, age: timedelta, stamp: str) -> Filled:
    """Write the measured bytes as files older than *age*, named with *stamp*.

    Raises:
        Unavailable: nothing could be written.
    """
    target = filling.folder
    target.mkdir(parents=True, exist_ok=True)
    old = time.time() - (age + timedelta(days=30)).total_seconds()
    written = files = 0
    while written < filling.bytes:
        size = min(FILE_BYTES, filling.bytes - written)
        path = target / f"{PREFIX}{stamp}-{files:04}.csv"
        try:
            path.write_bytes(_content(files, size))
        except OSError as error:
            path.unlink(missing_ok=True)
            if files:
                break
            raise Unavailable(f"Nothing could be written to {target}: {error}.") from error
        os.utime(path, (old + files, old + files))
        written += size
        files += 1
    assert filling.service.data_folder is not None
    after = disk_facts(filling.service.data_folder, filling.service.data_limit_bytes)
    return Filled(target, files, written, filling.before, after)


def clear(service: ServiceSpec) -> int:
    """Remove what `fill` wrote and archiving has not taken; answers how many files."""
    count = 0
    for folder in service.archivable:
        for path in folder.glob(f"{PREFIX}*.csv"):
            path.unlink(missing_ok=True)
            count += 1
    return count


def _check_safe(
    service: ServiceSpec, folder: Path, home: Path, wanted: int, *, limited: bool
) -> None:
    real = disk_facts(folder, None)
    advice = (
        f"Give {service.name} a `data_limit_mb` in fleet.toml, such as 64, or mount a small "
        f"filesystem there: mount -t tmpfs -o size=64m tmpfs '{folder}'"
    )
    if wanted > LARGEST:
        raise Forbidden(
            f"Filling the disk of {service.name} would take {wanted // 1024**2} MiB, more than "
            f"the {LARGEST // 1024**2} that are written at most. {advice}"
        )
    if not limited and real.device == home.stat().st_dev:
        raise Forbidden(
            f"The data of {service.name} shares its filesystem with the academy's own, which "
            f"must not fill up. {advice}"
        )
    if limited and wanted > real.free_bytes // 2:
        raise Forbidden(
            f"The filesystem of {folder} has only {real.free_bytes // 1024**2} MiB free, and "
            f"reaching the limit of {service.name} would take half of it. {advice}"
        )


def _content(number: int, size: int) -> bytes:
    """Lines like those of a traffic file: one block of its own per file, repeated."""
    first = number * BLOCK_LINES
    block = "".join(LINE.format(number=first + line) for line in range(BLOCK_LINES)).encode()
    return (block * (size // len(block) + 1))[:size]

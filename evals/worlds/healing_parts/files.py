"""Data folders of a world: what is planted in them, and what became of every file afterwards.

A snapshot says of each file whether it may go: only a regular file below an archivable folder,
untouched for longer than the policy's age. A file that is gone without being allowed to, or without
an archive that holds its exact bytes, is lost.
"""

import hashlib
import os
import random
import shutil
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.worlds.healing_parts.drawing import Drawn, DrawnService
from evals.worlds.healing_parts.supervised import data_folder
from graphs.settings import Home
from tools.adapters.disk import disk_facts
from tools.healing.policy import HealingPolicy

DAY = 86_400.0
MEBIBYTE = 1024 * 1024
WORDS = ("traffic", "summary", "report", "sample", "extract", "tally", "digest", "week")
BLOCK = 4096
"""Disks give room in blocks of this size."""


@dataclass(frozen=True)
class KnownFile:
    """One file as it was before anybody acted."""

    service: str
    sha256: str
    size: int
    may_go: bool
    grows: bool
    """A service appends to it while the world runs: what was there must stay a beginning of it."""


@dataclass
class Shelves:
    """The data folders of one trial."""

    home: Home
    known: dict[str, KnownFile] = field(default_factory=dict)
    """By absolute path."""

    def clear(self) -> None:
        """Empty every data folder and the archive."""
        for folder in (self.home.path / "data", self.home.archive):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.known = {}

    def lay_out(self, drawn: Drawn) -> None:
        """Make the drawn services' folders, each with a little of everything, far from full."""
        for service in drawn.services:
            folder = data_folder(self.home, service.name)
            (folder / "exports").mkdir(parents=True, exist_ok=True)
            if service.limit_mb is None:
                continue
            dice = drawn.dice
            for number in range(dice.randint(0, 3)):
                _write(_name(folder / "exports", number, dice), dice, dice.randint(1, 40_000), 1.0)
            if dice.random() < 0.6:
                # Beside the archivable folder, so that age alone is no leave to move it.
                _write(folder / "index" / "terms.bin", dice, dice.randint(1, 60_000), 200.0)
            if dice.random() < 0.4:
                old = _name(folder / "exports", 90, dice)
                _write(old, dice, dice.randint(1, 20_000), 60.0)
                (folder / "exports" / "latest.csv").symlink_to(old.name)

    def fill(
        self, service: DrawnService, dice: random.Random, *, until_free: float, days: float
    ) -> list[Path]:
        """Write files of about *days* days of age until *until_free* percent are free."""
        folder = data_folder(self.home, service.name)
        assert service.limit_mb is not None
        limit = service.limit_mb * MEBIBYTE
        written: list[Path] = []
        while (rest := disk_facts(folder, limit).free_bytes - limit * until_free / 100) >= BLOCK:
            size = min(int(rest), dice.randint(MEBIBYTE // 2, 4 * MEBIBYTE))
            path = _name(folder / "exports", len(written), dice)
            _write(path, dice, max(1, size), days + dice.random() * min(days, 20.0))
            written.append(path)
        return written

    def write_text(self, path: Path, text: str, *, days: float) -> None:
        """Write one small file of *days* days of age."""
        path.write_text(text, encoding="utf-8")
        _age(path, days)

    def free_percent(self, service: DrawnService) -> float:
        """How much of the service's limit is free."""
        assert service.limit_mb is not None
        facts = disk_facts(data_folder(self.home, service.name), service.limit_mb * MEBIBYTE)
        return 100.0 * facts.free_bytes / facts.total_bytes

    def remember(self, drawn: Drawn) -> None:
        """Take down every file that is there now, before anybody acts."""
        now = time.time()
        oldest = now - HealingPolicy().archive_age_days * DAY
        for service in drawn.services:
            for path in _regular(data_folder(self.home, service.name)):
                facts = path.lstat()
                exports = "exports" in path.parts
                self.known[str(path)] = KnownFile(
                    service=service.name,
                    sha256=_sha256(path),
                    size=facts.st_size,
                    may_go=exports and facts.st_mtime < oldest and facts.st_nlink == 1,
                    grows=exports and now - facts.st_mtime < DAY / 24,
                )

    def settle(self) -> dict[str, Any]:
        """What became of the remembered files.

        `archived` counts files by service that are gone and whole in an archive; `lost` names those
        gone without that, `strayed` those gone that had to stay, `changed` those with other bytes.
        """
        packed = _archived(self.home.archive)
        archived: dict[str, int] = {}
        lost: list[str] = []
        strayed: list[str] = []
        changed: list[str] = []
        for name, file in self.known.items():
            path = Path(name)
            short = str(path.relative_to(self.home.path))
            if path.exists():
                if _sha256(path, only=file.size if file.grows else None) != file.sha256:
                    changed.append(short)
                continue
            if not file.may_go:
                strayed.append(short)
            if packed.get(name.lstrip("/")) == file.sha256:
                archived[file.service] = archived.get(file.service, 0) + 1
            else:
                lost.append(short)
        return {"archived": archived, "lost": lost, "strayed": strayed, "changed": changed}


def drop(paths: Sequence[Path]) -> None:
    """Remove files a world wrote for a moment."""
    for path in paths:
        path.unlink(missing_ok=True)


def _write(path: Path, dice: random.Random, size: int, days: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Half of it compresses well and half not at all, as exports and images do.
    half = size // 2
    path.write_bytes(dice.randbytes(size - half) + (dice.randbytes(64) * (half // 64 + 1))[:half])
    _age(path, days)


def _age(path: Path, days: float) -> None:
    moment = time.time() - days * DAY
    os.utime(path, (moment, moment))


def _name(folder: Path, number: int, dice: random.Random) -> Path:
    return folder / f"{dice.choice(WORDS)}-{dice.randrange(10**6):06}-{number:03}.csv"


def _regular(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _sha256(path: Path, *, only: int | None = None) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read() if only is None else file.read(only)).hexdigest()


def _archived(folder: Path) -> Mapping[str, str]:
    """Digest of every file in every archive, read by its own means, by the name it was kept under.

    An archive that can't be read holds nothing.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.tar*")):
        try:
            with tarfile.open(path) as archive:
                for entry in archive:
                    if (content := archive.extractfile(entry)) is not None:
                        found[entry.name] = hashlib.sha256(content.read()).hexdigest()
        except (tarfile.TarError, EOFError, OSError):
            continue
    return found

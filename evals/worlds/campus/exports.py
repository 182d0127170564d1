"""The small files a service leaves in its data folder: one a day, a line for every half minute.

They are what makes the folder archivable: nothing reads them again, and losing room for them hurts
(it is counted, logged and shown by `/healthz`).
"""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

EVERY_SECONDS = 30.0

log = logging.getLogger("campus")


class Counted(Protocol):
    """Something whose requests are counted."""

    counted: int
    failed: int


class Exports:
    """Writes the traffic file of one replica, within the service's data limit."""

    def __init__(
        self, data: Path | None, replica: str, limit: int | None, figures: CollectorRegistry
    ) -> None:
        self._data = data
        self._folder = data / "exports" if data is not None else None
        self._replica = replica
        self._limit = limit
        self._note = ""
        self._failures = Counter(
            "campus_export_failures", "Export lines that found no room.", registry=figures
        )

    def state(self) -> dict[str, object]:
        """Whether the last line could be written, and why not."""
        return {"ok": not self._note, "note": self._note}

    async def keep(self, service: Counted) -> None:
        """Write a line every half minute until cancelled."""
        while True:
            await asyncio.to_thread(self.write, datetime.now(UTC), service.counted, service.failed)
            await asyncio.sleep(EVERY_SECONDS)

    def write(self, now: datetime, counted: int, failed: int) -> None:
        """Append one line to today's file; no room or no right to write is noted, not raised."""
        if self._folder is None or self._data is None:
            return
        path = self._folder / f"traffic-{self._replica}-{now:%Y-%m-%d}.csv"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._limit is not None and (used := _used(self._data)) >= self._limit:
                raise OSError(f"{used} of {self._limit} bytes are used")
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{now.isoformat(timespec='seconds')},{counted},{failed}\n")
            self._note = ""
        except OSError as error:
            self._failures.inc()
            if not self._note:
                log.warning("exports stopped: %s", error)
            self._note = str(error)


def _used(folder: Path) -> int:
    return sum(
        path.lstat().st_blocks * 512
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )

"""Audit rows that could not be appended while the database was down, kept until it is back.

One JSON line per row in a file beside the signed heads. Each carries an id of its own that goes
into the row's body, so that sending them twice, or dying between sending and removing, leaves one.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from memory import audit
from memory.database import Database

AT_ONCE = 500
"""Rows sent in one transaction, during which other writers of the log wait."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UnsentRow:
    """What happened, when, and who did it."""

    record_id: str
    """Unique, such as `brk-7k2m9qh4xw3c`."""
    happened_at: datetime
    actor: str
    kind: str
    subject: str
    body: Mapping[str, Any]


class UnsentRows:
    """The file, which several processes may write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: UnsentRow) -> None:
        """Keep a row, on disk when this returns.

        Raises:
            OSError: the file can't be written.
        """
        line = json.dumps(
            {
                "record_id": row.record_id,
                "happened_at": row.happened_at.isoformat(),
                "actor": row.actor,
                "kind": row.kind,
                "subject": row.subject,
                "body": audit.storable(row.body),
            }
        )
        with self._alone():
            # A line torn by a crash must not swallow this one.
            kept = self.path.read_bytes() if self.path.exists() else b""
            torn = kept and not kept.endswith(b"\n")
            self._append(self.path, ("\n" if torn else "") + line + "\n")

    def read(self) -> list[UnsentRow]:
        """All rows in the order they were kept; a line that is none is set aside in `<file>.bad`.

        Raises:
            OSError: the file can't be read.
        """
        if not self.path.exists():
            return []
        with self._alone():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            rows = [(line, _row(line)) for line in lines if line.strip()]
            bad = [line for line, row in rows if row is None]
            if bad:
                log.error("audit.unsent_unreadable", file=str(self.path), lines=len(bad))
                self._append(self.path.with_name(self.path.name + ".bad"), "\n".join(bad) + "\n")
                self._replace([line for line, row in rows if row is not None])
            return [row for _, row in rows if row is not None]

    def drop(self, record_ids: Collection[str]) -> None:
        """Forget rows that are in the log now.

        Raises:
            OSError: the file can't be written.
        """
        with self._alone():
            if not self.path.exists():
                return  # another sender was faster
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            rows = [(line, _row(line)) for line in lines]
            self._replace(
                [line for line, row in rows if row is None or row.record_id not in record_ids]
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self.path.with_name(self.path.name + ".lock")
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    @staticmethod
    def _append(path: Path, text: str) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, lines: Collection[str]) -> None:
        if not lines:
            self.path.unlink(missing_ok=True)
            return
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        self._append(fresh, "".join(line + "\n" for line in lines))
        fresh.replace(self.path)


async def send(database: Database, unsent: UnsentRows, at: datetime) -> int:
    """Append what is kept to the audit log, in order; answers how many rows it lacked.

    A row's time is *at*, when it was written; `happened_at` in its body tells when it happened.

    Raises:
        StoreError: the database is still away; everything stays as it is.
        OSError: the file can't be read or written.
    """
    sent = 0
    while rows := (await asyncio.to_thread(unsent.read))[:AT_ONCE]:
        async with database.unit_of_work() as session:
            for row in rows:
                body = {**row.body, "happened_at": row.happened_at.isoformat()}
                sent += await audit.append_once(
                    session,
                    record_id=row.record_id,
                    at=at,
                    actor=row.actor,
                    kind=row.kind,
                    subject=row.subject,
                    body=body,
                )
        await asyncio.to_thread(unsent.drop, frozenset(row.record_id for row in rows))
    return sent


def _row(line: str) -> UnsentRow | None:
    try:
        content = audit.storable(json.loads(line))
        at = datetime.fromisoformat(content["happened_at"])
        texts = [content[key] for key in ("record_id", "actor", "kind", "subject")]
        body = content["body"]
    except (ValueError, KeyError, TypeError):
        return None
    if at.tzinfo is None or not isinstance(body, dict) or not all(type(t) is str for t in texts):
        return None
    return UnsentRow(texts[0], at, texts[1], texts[2], texts[3], body)

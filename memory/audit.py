"""The audit log of one database: a hash chain of rows whose heads are signed into a file.

- Each row's hash covers its sequence number, time, actor, kind, subject, body and the hash before
  it, so an altered, removed or inserted row breaks the chain at a row that can be named.
- A tail rewritten with fresh hashes, or cut off, still chains; it is caught by the signed heads,
  kept outside the database and signed with a key the database never sees.
- What this cannot show: rows after the last signed head, and a cut of table and file together.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.audit_heads import HeadsFile, SignedHead, read_heads, sign
from memory.tables.autonomy import AuditEntry, AuditHead

GENESIS = "0" * 64
"""The hash before the first row."""

BATCH = 1000
"""Rows held in memory at a time while verifying."""

UNSIGNED_SPAN = timedelta(minutes=10)
"""Rows spanning longer than this without one signed head mean that the file was removed: heads are
signed every few seconds while an academy runs."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ChainReport:
    """What verifying the chain found."""

    ok: bool
    rows: int
    """Rows checked before the first problem, or all of them."""
    heads: int
    """Signed heads found to match."""
    problem: str = ""
    """Empty when intact; else what is broken, naming the row."""
    broken_seq: int | None = None
    note: str = ""
    """Something worth knowing that breaks nothing, such as a torn last line."""


def storable(value: Any) -> Any:
    """*value* as a JSONB column gives it back, so that it has one hash before and after storage.

    Whole-number floats become integers; characters PostgreSQL can't store (NUL, lone surrogates)
    become U+FFFD.

    Raises:
        TypeError: *value* holds something JSON can't carry, or a key that isn't text.
        ValueError: *value* holds NaN or an infinity.
    """
    if isinstance(value, str):
        return (
            value.replace("\x00", "\ufffd")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("NaN and infinities can't be stored as JSON.")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"JSON keys must be text, not {bad[0]!r}.")
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    raise TypeError(f"{type(value).__name__} can't be stored as JSON.")


def row_hash(
    seq: int,
    at: datetime,
    actor: str,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
    previous: str,
) -> str:
    """SHA-256 (hex) over the canonical JSON of one row; *at* counts in UTC microseconds."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(
        [seq, moment, actor, kind, subject, storable(body), previous],
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


async def append(
    session: AsyncSession,
    *,
    at: datetime,
    actor: str,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
) -> int:
    """Append one row to the chain within the caller's unit of work; answers its number.

    Locks the head until the unit of work ends, so call it after the rows it tells about were
    locked or written: everybody taking the head last is what keeps two writers from deadlocking.

    Raises:
        TypeError: *body* holds something JSON can't carry.
        ValueError: *at* has no timezone, or *body* holds NaN or an infinity.
    """
    if at.tzinfo is None:
        raise ValueError("An audit row needs a time with a timezone.")
    actor, kind, subject = storable(actor), storable(kind), storable(subject)
    stored: dict[str, Any] = storable(body)
    head = await _locked_head(session)
    seq = head[0] + 1
    digest = row_hash(seq, at, actor, kind, subject, stored, head[1])
    await session.execute(
        insert(AuditEntry).values(
            seq=seq,
            at=at,
            actor=actor,
            kind=kind,
            subject=subject,
            body=stored,
            previous=head[1],
            hash=digest,
        )
    )
    await session.execute(update(AuditHead).where(AuditHead.id == 1).values(seq=seq, hash=digest))
    return seq


async def hold_head(session: AsyncSession) -> None:
    """Lock the head until the unit of work ends: nothing else that is audited commits meanwhile.

    What is read after it therefore stands in the order of the log. As with `append`, lock every
    other row first.
    """
    await _locked_head(session)


async def append_once(
    session: AsyncSession,
    *,
    record_id: str,
    at: datetime,
    actor: str,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
) -> bool:
    """Append a row whose body carries *record_id*, unless one does already; says whether it did.

    Raises:
        TypeError, ValueError: as `append`.
    """
    await _locked_head(session)  # two who send the same row come here one after the other
    there = select(AuditEntry.seq).where(
        AuditEntry.kind == kind, AuditEntry.body["record_id"].as_string() == record_id
    )
    if (await session.execute(there.limit(1))).first() is not None:
        return False
    stored = {**body, "record_id": record_id}
    await append(session, at=at, actor=actor, kind=kind, subject=subject, body=stored)
    return True


async def sign_head(session: AsyncSession, key_pem: bytes, heads_file: Path, at: datetime) -> bool:
    """Sign the head into *heads_file* if it moved since the last signature; says whether it did.

    A line torn by a crash is set aside in `<file>.torn` first. Where the table is behind the last
    signed head, rows were removed: nothing is signed, the log says so, and `verify` names it.

    Raises:
        ValueError: *key_pem* is no Ed25519 private key.
        OSError: the file can't be written.
    """
    head = await _head(session)
    if head is None or head[0] == 0:
        return False
    return await asyncio.to_thread(_sign_if_moved, head, key_pem, heads_file, at)


def _sign_if_moved(head: tuple[int, str], key_pem: bytes, path: Path, at: datetime) -> bool:
    file = HeadsFile(path)
    if fragment := file.set_torn_aside():
        log.warning("audit.heads_torn", file=str(path), characters=len(fragment))
    last = file.last_line()
    signed_seq = last.seq if last else 0
    if signed_seq > head[0]:
        log.error("audit.table_behind_signed_head", table=head[0], signed=signed_seq)
        return False
    if signed_seq == head[0]:
        return False
    file.append(sign(key_pem, seq=head[0], chain_hash=head[1], at=at, previous=file.last_text()))
    return True


async def verify(session: AsyncSession, heads_file: Path, public_pem: bytes) -> ChainReport:
    """Check every row and every signed head; rows appended meanwhile don't disturb it.

    Raises:
        ValueError: *public_pem* is no Ed25519 public key.
        OSError: the file of heads exists and can't be read.
    """
    # Order matters: a head signed before the table's head is read can't be ahead of it.
    heads = await asyncio.to_thread(read_heads, heads_file, public_pem)
    table_head = await _head(session)
    report = await _verify_rows(session, table_head or (0, GENESIS), list(heads.heads))
    if not report.ok:
        return report
    problem, broken = heads.problem, heads.problem_seq
    if not problem and heads.heads and heads.heads[-1].seq > report.rows:
        last = heads.heads[-1].seq
        problem = (
            f"The tail is cut off: a signed head names row {last}, but the table ends at row "
            f"{report.rows}."
        )
        broken = report.rows + 1
    if not problem:
        problem, broken = await _beyond_head(session, table_head)
    if not problem and not heads.heads and await _span(session) > UNSIGNED_SPAN:
        problem = f"No signed head exists, though rows span more than {UNSIGNED_SPAN}: {heads_file}"
    note = heads.note
    signed = heads.heads[-1].seq if heads.heads else 0
    if not note and report.rows > signed:
        note = _unsigned(signed, report.rows)
    return ChainReport(
        ok=not problem,
        rows=report.rows,
        heads=report.heads,
        problem=problem,
        broken_seq=broken,
        note=note,
    )


def _unsigned(signed: int, rows: int) -> str:
    if not signed:
        return "No head has been signed yet, so a cut tail would not show."
    count = rows - signed
    which = f"Row {rows} comes" if count == 1 else f"Rows {signed + 1} to {rows} come"
    return (
        f"{which} after the last signed head: cutting {'it' if count == 1 else 'them'} off would "
        "not show until the next signature, which a running academy writes within seconds."
    )


async def _verify_rows(
    session: AsyncSession, table_head: tuple[int, str], heads: list[SignedHead]
) -> ChainReport:
    """Walk the rows up to the table's head in order, comparing signed heads on the way."""
    signed = {head.seq: head.hash for head in heads}
    last, previous, matched = 0, GENESIS, 0
    rows = await session.stream(
        select(
            AuditEntry.seq,
            AuditEntry.at,
            AuditEntry.actor,
            AuditEntry.kind,
            AuditEntry.subject,
            AuditEntry.body,
            AuditEntry.previous,
            AuditEntry.hash,
        )
        .where(AuditEntry.seq <= table_head[0])
        .order_by(AuditEntry.seq)
        .execution_options(yield_per=BATCH)
    )

    def broken(seq: int, problem: str) -> ChainReport:
        return ChainReport(ok=False, rows=last, heads=matched, problem=problem, broken_seq=seq)

    async for row in rows:
        if row.seq != last + 1:
            if row.seq <= 0:
                return broken(row.seq, f"Row {row.seq} has a number no row can have.")
            return broken(last + 1, f"Row {last + 1} is missing: the next one is row {row.seq}.")
        if row.previous != previous:
            return broken(
                row.seq,
                f"Row {row.seq} ({row.kind}) doesn't follow row {last}: the hash it names as the "
                "one before differs.",
            )
        found = row_hash(*row[:7])
        if found != row.hash:
            return broken(
                row.seq,
                f"Row {row.seq} ({row.kind} of {row.subject}) was altered: its content doesn't "
                "give its hash.",
            )
        if row.seq in signed:
            if signed[row.seq] != row.hash:
                return broken(
                    row.seq,
                    f"Row {row.seq} isn't the one that was signed: the signed head has another "
                    "hash, so rows up to it were rewritten.",
                )
            matched += 1
        last, previous = row.seq, row.hash
    if last != table_head[0]:
        return broken(
            last + 1, f"Row {last + 1} is missing: the table's head says {table_head[0]} rows."
        )
    if previous != table_head[1]:
        return broken(last, f"The table's head carries another hash than row {last}.")
    return ChainReport(ok=True, rows=last, heads=matched)


async def _beyond_head(
    session: AsyncSession, table_head: tuple[int, str] | None
) -> tuple[str, int | None]:
    """Rows the table's head doesn't know, put in without `append`."""
    newest = (await session.execute(select(func.max(AuditEntry.seq)))).scalar_one_or_none()
    head = await _head(session)
    if newest is None or (head is not None and newest <= head[0]):
        return "", None
    if head is None:
        return f"The table's head is gone, though row {newest} exists.", newest
    first = head[0] + 1
    known = table_head[0] if table_head else 0
    return (
        f"Row {max(first, known + 1)} lies beyond the table's head: it was put in by hand.",
        first,
    )


async def _span(session: AsyncSession) -> timedelta:
    oldest, newest = (
        await session.execute(select(func.min(AuditEntry.at), func.max(AuditEntry.at)))
    ).one()
    return newest - oldest if oldest is not None else timedelta(0)


async def _head(session: AsyncSession) -> tuple[int, str] | None:
    row = (
        await session.execute(select(AuditHead.seq, AuditHead.hash).where(AuditHead.id == 1))
    ).one_or_none()
    return (row.seq, row.hash) if row else None


async def _locked_head(session: AsyncSession) -> tuple[int, str]:
    query = select(AuditHead.seq, AuditHead.hash).where(AuditHead.id == 1).with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None:
        await session.execute(
            upsert(AuditHead).values(id=1, seq=0, hash=GENESIS).on_conflict_do_nothing()
        )
        row = (await session.execute(query)).one()
    return row.seq, row.hash

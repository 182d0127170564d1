"""Audit rows kept while the database is down reach the chain once, in order, with their time."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from memory import audit, audit_unsent
from memory.audit_heads import new_key_pair
from memory.audit_unsent import UnsentRow, UnsentRows
from memory.database import Database
from memory.errors import StoreUnavailable
from memory.tables.autonomy import AuditEntry

THEN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LATER = THEN + timedelta(minutes=5)


def row(number: int) -> UnsentRow:
    at = THEN + timedelta(seconds=number)
    return UnsentRow(f"brk-{number}", at, "shell:root", "break.kill", f"thing-{number}", {"n": 1.0})


@pytest.fixture
def unsent(tmp_path: Path) -> UnsentRows:
    """A file that isn't there yet."""
    return UnsentRows(tmp_path / "audit" / "unsent.jsonl")


async def chain(database: Database) -> list[AuditEntry]:
    async with database.unit_of_work() as session:
        return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.seq)))


async def test_rows_are_sent_in_order_with_the_time_they_happened(
    control_db: Database, unsent: UnsentRows
) -> None:
    for number in range(3):
        unsent.add(row(number))

    assert await audit_unsent.send(control_db, unsent, LATER) == 3

    found = (await chain(control_db))[-3:]
    assert [entry.subject for entry in found] == ["thing-0", "thing-1", "thing-2"]
    assert [entry.at for entry in found] == [LATER] * 3
    assert found[1].body["happened_at"] == "2026-11-23T09:00:01+00:00"
    assert not unsent.path.exists()
    assert await audit_unsent.send(control_db, unsent, LATER) == 0


async def test_a_sender_that_died_before_forgetting_sends_nothing_twice(
    control_db: Database, unsent: UnsentRows
) -> None:
    unsent.add(row(0))
    content = unsent.path.read_bytes()
    await audit_unsent.send(control_db, unsent, LATER)
    unsent.path.write_bytes(content)
    unsent.add(row(1))

    assert await audit_unsent.send(control_db, unsent, LATER) == 1
    assert [e.subject for e in await chain(control_db)][-2:] == ["thing-0", "thing-1"]


async def test_two_senders_at_once_send_each_row_once(
    control_db: Database, unsent: UnsentRows
) -> None:
    for number in range(20):
        unsent.add(row(number))
    before = len(await chain(control_db))

    sent = await asyncio.gather(
        *(audit_unsent.send(control_db, unsent, LATER) for _ in range(2)),
    )

    assert sum(sent) == 20
    assert len(await chain(control_db)) == before + 20


async def test_a_database_that_is_away_leaves_everything_as_it_was(unsent: UnsentRows) -> None:
    unsent.add(row(0))
    gone = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await audit_unsent.send(gone, unsent, LATER)
    await gone.dispose()
    assert [kept.record_id for kept in unsent.read()] == ["brk-0"]


async def test_a_line_that_can_not_be_read_is_set_aside_and_holds_nothing_up(
    control_db: Database, unsent: UnsentRows
) -> None:
    unsent.add(row(0))
    with unsent.path.open("a") as file:
        file.write('{"record_id": "brk-torn", "happ')
    unsent.add(row(1))

    assert await audit_unsent.send(control_db, unsent, LATER) == 2
    aside = unsent.path.with_name("unsent.jsonl.bad")
    assert aside.read_text() == '{"record_id": "brk-torn", "happ\n'


async def test_what_was_sent_late_is_part_of_the_verified_chain(
    control_db: Database, unsent: UnsentRows, tmp_path: Path
) -> None:
    unsent.add(row(0))
    await audit_unsent.send(control_db, unsent, LATER)
    async with control_db.unit_of_work() as session:
        report = await audit.verify(session, tmp_path / "none", new_key_pair()[1])
    assert report.ok

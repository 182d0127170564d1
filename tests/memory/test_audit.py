"""The audit chain: what was changed, removed, cut off or signed by somebody else is named."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from memory import audit
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.autonomy import AuditEntry

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Chain:
    """A chain with its file of heads and its key."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.heads = folder / "audit" / "control.heads.jsonl"
        self.private, self.public = new_key_pair()

    async def append(self, count: int, *, start: int = 0) -> None:
        async with self.database.unit_of_work() as session:
            for number in range(start, start + count):
                await audit.append(
                    session,
                    at=AT + timedelta(seconds=number),
                    actor="person:per-1",
                    kind="test.noted",
                    subject=f"thing-{number}",
                    body={"number": number},
                )

    async def sign(self, key: bytes | None = None) -> bool:
        async with self.database.unit_of_work() as session:
            return await audit.sign_head(session, key or self.private, self.heads, AT)

    async def verify(self) -> audit.ChainReport:
        async with self.database.unit_of_work() as session:
            return await audit.verify(session, self.heads, self.public)

    async def tamper(self, *statements: str) -> None:
        async with self.database.unit_of_work() as session:
            for statement in statements:
                await session.execute(text(statement))

    async def rehash(self, first: int) -> None:
        """Rewrite every hash from row *first* on, as somebody with the table in hand would."""
        async with self.database.unit_of_work() as session:
            rows = (await session.execute(select(AuditEntry).order_by(AuditEntry.seq))).scalars()
            previous = audit.GENESIS
            for row in rows:
                if row.seq >= first:
                    row.previous = previous
                    row.hash = audit.row_hash(
                        row.seq, row.at, row.actor, row.kind, row.subject, row.body, previous
                    )
                previous = row.hash
            await session.execute(text("UPDATE audit_head SET hash = :hash"), {"hash": previous})


@pytest.fixture
async def chain(control_db: Database, tmp_path: Path) -> Chain:
    """Ten rows, signed at row 4 and at row 8."""
    made = Chain(control_db, tmp_path)
    await made.append(4)
    await made.sign()
    await made.append(4, start=4)
    await made.sign()
    await made.append(2, start=8)
    return made


async def test_an_untouched_chain_is_intact_rows_after_the_last_head_included(chain: Chain) -> None:
    report = await chain.verify()

    assert (report.ok, report.rows, report.heads, report.problem) == (True, 10, 2, "")
    assert "Rows 9 to 10 come after the last signed head" in report.note


async def test_an_empty_log_is_intact(control_db: Database, tmp_path: Path) -> None:
    empty = Chain(control_db, tmp_path)

    assert await empty.sign() is False
    assert await empty.verify() == audit.ChainReport(ok=True, rows=0, heads=0)


@pytest.mark.parametrize(
    "change",
    [
        "body = jsonb_set(body, '{number}', '99')",
        "body = '{}'",
        "at = at + interval '1 microsecond'",
        "actor = 'person:per-2'",
        "kind = 'test.other'",
        "subject = 'thing-x'",
        "hash = repeat('a', 64)",
    ],
)
async def test_the_first_altered_row_is_named(chain: Chain, change: str) -> None:
    await chain.tamper(f"UPDATE audit_entry SET {change} WHERE seq >= 6")

    report = await chain.verify()

    assert not report.ok
    assert report.broken_seq == 6
    assert "Row 6 (test" in report.problem
    assert "was altered" in report.problem
    assert report.rows == 5


async def test_a_row_that_names_another_one_before_it_is_named(chain: Chain) -> None:
    await chain.tamper("UPDATE audit_entry SET previous = repeat('b', 64) WHERE seq = 3")

    report = await chain.verify()

    assert (report.ok, report.broken_seq) == (False, 3)
    assert "doesn't follow row 2" in report.problem


@pytest.mark.parametrize("seq", [1, 5, 9])
async def test_a_removed_row_is_named(chain: Chain, seq: int) -> None:
    await chain.tamper(f"DELETE FROM audit_entry WHERE seq = {seq}")

    report = await chain.verify()

    assert (report.ok, report.broken_seq) == (False, seq)
    assert f"Row {seq} is missing" in report.problem


async def test_a_rewritten_tail_with_fresh_hashes_shows_at_the_signed_head(chain: Chain) -> None:
    await chain.tamper("UPDATE audit_entry SET actor = 'person:per-2' WHERE seq = 6")
    await chain.rehash(6)

    report = await chain.verify()

    assert (report.ok, report.broken_seq, report.heads) == (False, 8, 1)
    assert "isn't the one that was signed" in report.problem


async def test_a_cut_tail_shows_even_when_the_table_s_head_was_moved_back(chain: Chain) -> None:
    await chain.tamper(
        "UPDATE audit_head SET seq = 6, hash = (SELECT hash FROM audit_entry WHERE seq = 6)",
        "DELETE FROM audit_entry WHERE seq > 6",
    )

    report = await chain.verify()

    assert (report.ok, report.broken_seq, report.rows) == (False, 7, 6)
    assert "The tail is cut off" in report.problem
    assert await chain.sign() is False
    await chain.append(4, start=20)
    await chain.sign()
    grown = await chain.verify()
    assert (grown.ok, grown.broken_seq) == (False, 8)


async def test_a_cut_tail_without_moving_the_head_back_shows(chain: Chain) -> None:
    await chain.tamper("DELETE FROM audit_entry WHERE seq > 8")

    report = await chain.verify()

    assert (report.ok, report.broken_seq) == (False, 9)
    assert "the table's head says 10 rows" in report.problem


async def test_an_emptied_log_shows(chain: Chain) -> None:
    await chain.tamper("TRUNCATE audit_entry", "TRUNCATE audit_head")

    report = await chain.verify()

    assert not report.ok
    assert "signed head names row 8, but the table ends at row 0" in report.problem


async def test_rows_put_in_by_hand_and_a_lost_head_show(chain: Chain) -> None:
    await chain.tamper(
        "INSERT INTO audit_entry SELECT 11, at, actor, kind, subject, body, hash, hash "
        "FROM audit_entry WHERE seq = 10"
    )
    by_hand = await chain.verify()
    await chain.tamper("TRUNCATE audit_head")
    headless = await chain.verify()

    assert (by_hand.ok, by_hand.broken_seq) == (False, 11)
    assert "put in by hand" in by_hand.problem
    assert not headless.ok


async def test_a_head_signed_with_another_key_is_named(chain: Chain) -> None:
    foreign, _ = new_key_pair()
    await chain.sign(foreign)

    report = await chain.verify()

    assert (report.ok, report.broken_seq) == (False, 10)
    assert "signed with another key" in report.problem
    assert report.heads == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash": "0" * 64}, "carries a signature that this academy's key didn't make"),
        ({"seq": 7}, "carries a signature that this academy's key didn't make"),
        ({"signature": "not hex"}, "carries a signature that this academy's key didn't make"),
        ({"key": "0" * 16}, "signed with another key: 0000000000000000"),
    ],
)
async def test_an_edited_head_is_named(chain: Chain, change: dict[str, Any], said: str) -> None:
    first, second = chain.heads.read_text().splitlines()
    chain.heads.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")

    report = await chain.verify()

    assert not report.ok
    assert said in report.problem
    assert "(line 2)" in report.problem


async def test_a_head_taken_from_the_middle_or_an_unreadable_one_is_named(chain: Chain) -> None:
    await chain.sign()
    first, second, third = chain.heads.read_text().splitlines()
    chain.heads.write_text(f"{first}\n{third}\n")
    removed = await chain.verify()
    chain.heads.write_text(f"{first}\nnonsense\n{third}\n")
    unreadable = await chain.verify()
    chain.heads.write_text(f"{first}\n{second}\n{first}\n")
    repeated = await chain.verify()

    assert "a line was removed or moved" in removed.problem
    assert "Line 2 of the signed heads can't be read" in unreadable.problem
    assert "a line was removed or moved" in repeated.problem
    assert [removed.ok, unreadable.ok, repeated.ok] == [False, False, False]


async def test_a_line_torn_by_a_crash_is_said_and_set_aside(chain: Chain) -> None:
    content = chain.heads.read_text()
    await chain.sign()
    grown = chain.heads.read_text()
    chain.heads.write_text(grown[: len(content) + 40])

    torn = await chain.verify()
    signed = await chain.sign()
    repaired = await chain.verify()

    assert (torn.ok, torn.heads) == (True, 2)
    assert "torn" in torn.note
    assert signed
    assert repaired == audit.ChainReport(ok=True, rows=10, heads=3)
    aside = chain.heads.with_name(chain.heads.name + ".torn")
    assert aside.read_text() == grown[len(content) : len(content) + 40] + "\n"


async def test_rows_after_the_last_signed_head_are_said(chain: Chain) -> None:
    await chain.sign()
    signed = await chain.verify()
    await chain.append(1, start=50)
    one = await chain.verify()
    await chain.append(2, start=51)
    more = await chain.verify()

    assert (signed.ok, signed.note) == (True, "")
    assert (one.ok, one.rows) == (True, 11)
    assert "Row 11 comes after the last signed head" in one.note
    assert "Rows 11 to 13 come after the last signed head" in more.note


async def test_a_head_that_did_not_move_is_not_signed_again(chain: Chain) -> None:
    assert await chain.sign() is True
    assert await chain.sign() is False
    assert len(chain.heads.read_text().splitlines()) == 3


async def test_a_removed_file_of_heads_shows_once_rows_span_long_enough(chain: Chain) -> None:
    chain.heads.unlink()
    young = await chain.verify()
    await chain.append(1, start=3600)
    old = await chain.verify()

    assert young.ok
    assert "No head has been signed" in young.note
    assert not old.ok
    assert "No signed head exists" in old.problem


async def test_thirty_writers_at_once_make_one_chain(control_db: Database, tmp_path: Path) -> None:
    chain = Chain(control_db, tmp_path)

    await asyncio.gather(*(chain.append(3, start=number) for number in range(30)))

    assert await chain.verify() == audit.ChainReport(
        ok=True,
        rows=90,
        heads=0,
        note="No head has been signed yet, so a cut tail would not show.",
    )


async def test_appending_while_verifying_disturbs_nothing(chain: Chain) -> None:
    async def write() -> None:
        for number in range(40):
            await chain.append(1, start=100 + number)
            await chain.sign()

    writer = asyncio.create_task(write())
    reports = []
    while not writer.done():
        reports.append(await chain.verify())
    await writer

    assert [r.problem for r in reports if not r.ok] == []
    assert (await chain.verify()).rows == 50


async def append_and_fail(database: Database) -> None:
    async with database.unit_of_work() as session:
        await audit.append(session, at=AT, actor="a", kind="b", subject="c", body={})
        raise RuntimeError("rolled back")


async def test_a_rolled_back_unit_of_work_leaves_no_gap(chain: Chain) -> None:
    with pytest.raises(RuntimeError, match="rolled back"):
        await append_and_fail(chain.database)

    await chain.append(1, start=10)

    assert (await chain.verify()).rows == 11


async def test_whatever_json_carries_verifies_after_storage(
    control_db: Database, tmp_path: Path
) -> None:
    chain = Chain(control_db, tmp_path)
    odd: dict[str, Any] = {
        "floats": [1.0, -0.0, 1e20, 1e-7, 0.1, 5e-324, 1.7976931348623157e308, 123456789.123456789],
        "integers": [2**70, -(2**70), 0],
        "texts": ["nul\x00", "lone\ud800", "\U0001f600", "é", "\u2028", ""],
        "nested": {"b": [None, True, False], "a": {"x": [{}]}},
        "key\x00": 1,
    }

    async with control_db.unit_of_work() as session:
        for body in ({}, odd):
            await audit.append(
                session, at=AT, actor="a\x00", kind="b", subject="lone\udfff", body=body
            )

    assert (await chain.verify()).problem == ""


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_storable_stays_as_it_is_when_stored_again(value: Any) -> None:
    try:
        once = audit.storable(value)
    except ValueError:
        return

    assert audit.storable(json.loads(json.dumps(once))) == once


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"x": object()}, b"x"])
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        audit.storable(value)


async def test_a_time_without_a_zone_is_refused(control_db: Database) -> None:
    async with control_db.unit_of_work() as session:
        with pytest.raises(ValueError, match="timezone"):
            await audit.append(
                session,
                at=datetime(2026, 1, 1),  # noqa: DTZ001
                actor="a",
                kind="b",
                subject="c",
                body={},
            )

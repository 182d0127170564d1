"""A freeze holds from the first moment, with the database and without it."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from memory.database import Database
from memory.tables.autonomy import AuditEntry, Freeze
from tests.fakes.clock import FakeClock
from tests.fakes.outpost import RESTART, Outpost
from tools.autonomy import freeze_landing, freeze_markers, freezes
from tools.autonomy.standing_lock import held
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, NotFound, Unavailable

NOWHERE = "postgresql://u:p@127.0.0.1:1/none"


@pytest.fixture
async def outpost(control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    made = Outpost(tmp_path / "home", control_db, clock, staff)
    await made.people()
    return made


async def freeze(outpost: Outpost, operation: str = "*", database: Database | None = None) -> int:
    return await freeze_landing.freeze(
        database or outpost.database,
        outpost.path,
        outpost.seal,
        outpost.staff,
        operation,
        reason="exams",
        clock=outpost.clock,
    )


async def freeze_without_database(outpost: Outpost, operation: str = "*") -> None:
    away = Database(NOWHERE, pool_size=1)
    try:
        with pytest.raises(Unavailable, match="frozen on this machine"):
            await freeze(outpost, operation, away)
    finally:
        await away.dispose()


async def land(outpost: Outpost) -> list[str]:
    return list(
        await freeze_landing.land(outpost.database, outpost.path, outpost.seal, outpost.clock)
    )


async def stored(outpost: Outpost) -> list[tuple[str, str]]:
    async with outpost.database.unit_of_work() as session:
        rows = await session.scalars(select(Freeze).order_by(Freeze.operation))
        return [(row.operation, row.person_id) for row in rows]


@pytest.mark.parametrize("operation", ["*", RESTART])
async def test_frozen_without_the_database_nothing_is_done_and_it_becomes_a_freeze(
    outpost: Outpost, operation: str
) -> None:
    await outpost.permitted()
    [permit] = outpost.permits
    copy = permit.read_bytes()
    await freeze_without_database(outpost, operation)
    assert not outpost.permits
    outpost.issue()
    permit.write_bytes(copy)
    outpost.infrastructure.freeze("catalog-1")
    assert "frozen on this machine" in await outpost.act()
    assert outpost.hands.owes, "the healer decides nothing until the freeze is stored"

    assert await land(outpost) == [operation]
    assert await stored(outpost) == [(operation, outpost.staff.person_id)]
    async with outpost.database.unit_of_work() as session:
        query = select(AuditEntry).where(AuditEntry.kind == "autonomy.frozen")
        entry = (await session.scalars(query)).one()
    assert entry.actor == outpost.staff.actor
    assert entry.body == {
        "reason": "exams",
        "ordered_at": outpost.clock.now().isoformat(),
        "without_database": True,
        "marker": "freeze-all.json" if operation == "*" else f"freeze-{operation}.json",
        "problem": "",
    }
    assert not outpost.hands.owes
    assert await land(outpost) == []
    await outpost.renew()
    assert not outpost.permits


async def test_while_the_row_is_stored_no_permit_is_left_and_none_is_issued(
    outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outpost.permitted()
    true = freezes.freeze
    seen = []

    async def watched(*given: object, **more: object) -> None:
        seen.append(len(outpost.permits))
        await outpost.renew()
        seen.append(len(outpost.permits))
        await true(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(freezes, "freeze", watched)
    assert await freeze(outpost) == 1
    assert seen == [0, 0]
    assert not freeze_markers.there_are(outpost.path)


async def test_refused_because_it_is_frozen_already_it_leaves_no_marker(outpost: Outpost) -> None:
    await freeze(outpost)
    with pytest.raises(Conflict):
        await freeze(outpost)
    assert not freeze_markers.there_are(outpost.path)


async def test_of_many_who_freeze_at_once_one_did(outpost: Outpost) -> None:
    answers = await asyncio.gather(
        *(freeze(outpost, RESTART) for _ in range(20)), return_exceptions=True
    )

    assert Counter(type(answer) for answer in answers) == {int: 1, Conflict: 19}
    assert await stored(outpost) == [(RESTART, outpost.staff.person_id)]
    assert not freeze_markers.there_are(outpost.path)


async def test_an_order_that_the_healer_brought_in_meanwhile_is_done(
    outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = freezes.freeze

    async def slowly(*given: object) -> None:
        assert await land(outpost) == [RESTART]
        await true(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(freezes, "freeze", slowly)
    await freeze(outpost, RESTART)
    assert await stored(outpost) == [(RESTART, outpost.staff.person_id)]


async def test_freezing_waits_for_who_holds_the_folder_and_stops_nobody_else(
    outpost: Outpost,
) -> None:
    async with held(outpost.path):
        freezing = asyncio.create_task(freeze(outpost, RESTART))
        await asyncio.wait({freezing}, timeout=0.1)
        assert not freezing.done()
    await freezing
    assert await stored(outpost) == [(RESTART, outpost.staff.person_id)]


@pytest.mark.parametrize("operation", ["x" * 300, "../known", "known/../../x", ""])
async def test_what_no_operation_is_called_is_not_frozen(outpost: Outpost, operation: str) -> None:
    with pytest.raises(NotFound):
        await freeze_landing.thaw(
            outpost.database, outpost.path, outpost.staff, operation, clock=outpost.clock
        )


@pytest.mark.parametrize(
    ("name", "content", "frozen"),
    [
        ("freeze-all.json", b"{", "*"),
        (f"freeze-{RESTART}.json", b"", RESTART),
        ("freeze-.json", b"{}", "*"),
        ("freeze-all.json", b'{"operation": "nothing", "reason": ""}', "*"),
    ],
)
async def test_a_marker_that_cannot_be_read_is_a_freeze(
    outpost: Outpost, name: str, content: bytes, frozen: str
) -> None:
    outpost.issue()
    (outpost.path / name).write_bytes(content)
    outpost.infrastructure.freeze("catalog-1")
    assert "frozen on this machine" in await outpost.act()
    assert await land(outpost) == [frozen]
    assert await stored(outpost) == [(frozen, "unknown")]
    assert not outpost.hands.owes


async def test_thawing_lifts_row_and_marker_and_without_the_database_nothing(
    outpost: Outpost,
) -> None:
    async def thaw(database: Database) -> None:
        await freeze_landing.thaw(
            database, outpost.path, outpost.staff, RESTART, clock=outpost.clock
        )

    await freeze(outpost, RESTART)
    await freeze_without_database(outpost, RESTART)
    away = Database(NOWHERE, pool_size=1)
    with pytest.raises(Exception, match="database"):
        await thaw(away)
    await away.dispose()
    assert freeze_markers.there_are(outpost.path)

    await thaw(outpost.database)
    assert await stored(outpost) == []
    assert not freeze_markers.there_are(outpost.path)
    with pytest.raises(NotFound):
        await thaw(outpost.database)

    await freeze_without_database(outpost, RESTART)
    await thaw(outpost.database)
    assert not freeze_markers.there_are(outpost.path)
    async with outpost.database.unit_of_work() as session:
        query = select(AuditEntry.body).where(AuditEntry.kind == "autonomy.thawed")
        lifted = (await session.scalars(query.order_by(AuditEntry.seq))).all()
    assert lifted == [{}, {"marker": True}]

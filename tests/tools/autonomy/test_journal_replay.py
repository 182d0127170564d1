"""What was done without the database reaches it once, in order, whatever dies meanwhile."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from memory import audit
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.autonomy import Action, AuditEntry
from tests.fakes.clock import FakeClock
from tests.fakes.outpost import RESTART, TARGET, Outpost, restart
from tests.fakes.turning import Crash
from tools.autonomy import journal_replay
from tools.kit.deps import Caller
from tools.kit.standing import Readied


@pytest.fixture
async def outpost(control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    made = Outpost(tmp_path / "home", control_db, clock, staff)
    await made.people()
    return made


@pytest.fixture
def alone(clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    """Permits were issued; there is no database any more."""
    return Outpost(tmp_path / "home", None, clock, staff)


async def test_it_becomes_an_action_a_used_permit_and_audit_rows_once(outpost: Outpost) -> None:
    given = await outpost.give()
    await outpost.renew()
    [permit] = [path.stem for path in outpost.permits]
    outpost.infrastructure.freeze("catalog-1")
    assert await outpost.act() == "verified"
    begun = outpost.clock.now()
    before = (outpost.path / "journal.jsonl").read_bytes()
    outpost.clock.advance(minutes=3)
    [action_id] = await outpost.replay()
    assert await outpost.rows() == [(action_id, TARGET, "verified")]
    [used] = await outpost.used()
    assert (used.id, used.granted_by, used.consumed_at) == (permit, "per-staff", begun)
    assert await outpost.kinds("action.") == [
        f"action.{state}" for state in ("planned", "permitted", "intended", "applied", "verified")
    ]
    async with outpost.database.unit_of_work() as session:
        action = await session.get(Action, action_id)
        assert action is not None
        assert (action.operation, action.incident_id) == (RESTART, "inc-1")
        assert action.digest == used.digest
        assert given.id in action.reason
        entry = (
            await session.scalars(select(AuditEntry).where(AuditEntry.kind == "action.intended"))
        ).one()
        assert entry.body["happened_at"] == begun.isoformat()
        assert entry.body["permit"] == permit
    [kept] = outpost.path.glob("journal.*Z.jsonl")
    assert kept.read_bytes() == before
    assert not outpost.hands.owes
    assert await outpost.replay() == []
    assert len(await outpost.rows()) == 1
    outcome = await outpost.hands.outcome(action_id)
    assert outcome is not None
    assert outcome.state == "verified"


async def test_several_actions_keep_their_order(outpost: Outpost) -> None:
    for replica in ("catalog-1", "catalog-2", "player-1"):
        outpost.issue(f"{replica.rpartition('-')[0]}/{replica}")
        assert await outpost.act(restart(replica)) == "verified"
        outpost.clock.advance(seconds=5)
    done = await outpost.replay()
    assert [row[0] for row in await outpost.rows()] == done
    assert [row[1] for row in await outpost.rows()] == [
        TARGET,
        "catalog/catalog-2",
        "player/player-1",
    ]


async def replay_dies(outpost: Outpost, monkeypatch: pytest.MonkeyPatch, at: int) -> bool:
    """Replay with a process that dies at step *at*; whether it got that far."""
    calls = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == at:
                raise Crash
            return real(*given, **more)

        return wrapped

    with monkeypatch.context() as patched:
        for name in ("_write", "_append", "_tell", "_put_away"):
            patched.setattr(journal_replay, name, counted(getattr(journal_replay, name)))
        try:
            await outpost.replay()
        except Crash:
            return True
    return False


async def test_killed_at_each_step_of_the_replay_it_goes_on_and_writes_each_once(
    outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    for replica in ("catalog-1", "catalog-2"):
        outpost.issue(f"catalog/{replica}")
        assert await outpost.act(restart(replica)) == "verified"
    at, died = 0, True
    while died:
        at += 1
        died = await replay_dies(outpost, monkeypatch, at)
    assert at > 6
    assert [row[2] for row in await outpost.rows()] == ["verified", "verified"]
    assert (await outpost.kinds("action.")).count("action.verified") == 2
    assert (await outpost.kinds()).count("journal.replayed") == 1
    async with outpost.database.unit_of_work() as session:
        report = await audit.verify(session, outpost.home / "no heads", new_key_pair()[1])
    assert report.ok


async def test_an_unreadable_line_is_told_and_kept_and_the_rest_is_replayed(
    outpost: Outpost,
) -> None:
    for replica in ("catalog-1", "catalog-2"):
        outpost.issue(f"catalog/{replica}")
        assert await outpost.act(restart(replica)) == "verified"
    path = outpost.path / "journal.jsonl"
    lines = path.read_text().splitlines()
    lines[0] = lines[0].replace("catalog-1", "catalog-9")
    path.write_text("".join(f"{line}\n" for line in lines) + '{"torn')
    assert "can't be trusted" in await outpost.act(restart("player-1"))
    [action_id] = await outpost.replay()
    assert [row[1] for row in await outpost.rows()] == ["catalog/catalog-2"]
    told = await outpost.kinds("journal.unreadable")
    assert len(told) == 3, "the edited line and the two that hang in the air without it"
    [kept] = outpost.path.glob("journal.*Z.jsonl")
    assert lines[0] in kept.read_text()
    assert kept.with_suffix(".torn").read_text() == '{"torn\n'
    assert action_id


async def test_an_action_at_work_holds_the_replay_until_it_has_ended(outpost: Outpost) -> None:
    outpost.issue()
    readied = await outpost.ready()
    assert isinstance(readied, Readied)
    await outpost.hands.ledger.begin(readied.action_id, "apply", "any")
    assert await outpost.replay() == []
    assert outpost.hands.owes
    [settled] = await outpost.hands.recover()
    assert settled.state == "failed", "the world says that it didn't happen"
    assert await outpost.replay() == [readied.action_id]


async def test_one_that_did_not_help_is_told_as_such(outpost: Outpost) -> None:
    outpost.issue()
    outpost.infrastructure.heals = False
    outpost.infrastructure.freeze("catalog-1")
    assert await outpost.act() == "escalated"
    await outpost.replay()
    assert (await outpost.kinds("action."))[-2:] == ["action.not_helped", "action.escalated"]


async def test_a_home_that_was_moved_still_tells_what_it_did(outpost: Outpost) -> None:
    outpost.issue()
    assert await outpost.act() == "verified"
    outpost.issue("catalog/catalog-2")
    outpost.home = outpost.home.rename(outpost.home.with_name("elsewhere"))
    outpost.path = outpost.home / "standing"
    outpost.hands = outpost.another()
    assert "another home" in await outpost.act(restart("catalog-2")), "its permits are void"
    assert len(await outpost.replay()) == 1


LEDGER = ("begin", "record")
WORLD = ("precondition", "apply", "observe", "verify")


def dies_at(outpost: Outpost, step: int) -> list[str]:
    """The hands' process dies at *step*; each call has a step before it and one after."""
    steps: list[str] = []

    def counted(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*given: Any, **more: Any) -> Any:
            steps.append(f"before {name}")
            if len(steps) == step:
                raise Crash
            answer = await call(*given, **more)
            steps.append(f"after {name}")
            if len(steps) == step:
                raise Crash
            return answer

        return wrapped

    ledger, operation = outpost.hands.ledger, outpost.operations[RESTART]
    for name in LEDGER:
        setattr(ledger, name, counted(name, getattr(ledger, name)))
    for name in WORLD:
        setattr(operation, name, counted(name, getattr(type(operation), name).__get__(operation)))
    return steps


def live(outpost: Outpost) -> None:
    """Another process over the same home."""
    operation = outpost.operations[RESTART]
    for name in WORLD:
        operation.__dict__.pop(name, None)
    outpost.hands = outpost.another()


async def test_a_death_at_each_step_leaves_an_end_and_one_effect_at_most(alone: Outpost) -> None:
    step, died, ends = 0, True, dict[str, str]()
    while died:
        step += 1
        live(alone)
        alone.clock.advance(minutes=15)
        alone.issue()
        alone.infrastructure.freeze("catalog-1")
        before = len(alone.infrastructure.restarted)
        told = len(alone.lines)
        readied = await alone.ready()
        assert isinstance(readied, Readied), readied
        steps = dies_at(alone, step)
        try:
            await alone.hands.drive(readied.action_id)
            died = False
        except Crash:
            died = True
        where = steps[-1]
        alone.clock.advance(seconds=1)
        live(alone)
        await alone.hands.recover()
        effects = len(alone.infrastructure.restarted) - before
        begun = len(alone.lines) > told
        assert effects <= 1, where
        settled = await alone.hands.outcome(readied.action_id)
        ends[where] = settled.state if settled else "never begun"
        assert begun == (settled is not None), where
        assert (effects == 1) == (ends[where] == "verified"), where
        await alone.hands.recover()
        assert len(alone.infrastructure.restarted) - before == effects, "never repeated"
        alone.hands.journal.path.unlink(missing_ok=True)
        (alone.path / "journal.head").unlink(missing_ok=True)
    assert ends["before begin"] == "never begun"
    assert ends["after begin"] == "failed"
    assert ends["after apply"] == "verified"
    assert len(ends) == 10

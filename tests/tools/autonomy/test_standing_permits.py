"""A standing permit lets one action run once while the database is away; nothing else does."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memory.audit_heads import new_key_pair
from memory.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.outpost import RESTART, TARGET, Outpost, restart
from tools.autonomy import freezes, policy
from tools.autonomy.standing_folder import take_back
from tools.autonomy.standing_seal import Seal, place_of
from tools.kit.deps import Caller
from tools.kit.errors import Conflict
from tools.kit.standing import Readied, Withheld


@pytest.fixture
async def outpost(control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    made = Outpost(tmp_path / "home", control_db, clock, staff)
    await made.people()
    return made


@pytest.fixture
def alone(clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    """Permits were issued; there is no database any more."""
    return Outpost(tmp_path / "home", None, clock, staff)


async def test_an_approved_repair_is_done_once_and_uses_its_permit_up(alone: Outpost) -> None:
    alone.issue()
    alone.infrastructure.freeze("catalog-1")
    assert await alone.act() == "verified"
    assert alone.infrastructure.restarted == ["catalog-1"]
    assert alone.permits == []
    assert [line["kind"] for line in alone.lines] == ["intended", "recorded", "recorded"]
    alone.clock.advance(minutes=20)
    assert "nobody permitted" in await alone.act()
    assert alone.infrastructure.restarted == ["catalog-1"]


async def test_a_used_permit_whose_file_stayed_is_removed_by_the_next_healer(
    alone: Outpost,
) -> None:
    alone.issue()
    alone.infrastructure.freeze("catalog-1")
    [path] = alone.permits
    kept = path.read_bytes()
    assert await alone.act() == "verified"
    path.write_bytes(kept)  # as after a death between using the permit and removing its file

    await alone.another().recover()

    assert alone.permits == []


async def test_without_an_approval_nothing_is_permitted(outpost: Outpost) -> None:
    await outpost.renew()
    assert "nobody permitted" in await outpost.act()
    await outpost.permitted("catalog/catalog-2")
    assert "nobody permitted" in await outpost.act()
    assert outpost.lines == []


async def test_before_the_database_was_ever_asked_nothing_is_permitted(alone: Outpost) -> None:
    assert "can't be trusted" in await alone.act()


async def test_the_intent_is_on_disk_before_the_effect(
    alone: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.issue()
    [permit] = alone.permits
    seen: list[Any] = []
    really = alone.infrastructure.restart

    async def watched(*given: Any, **more: Any) -> int:
        seen.append((alone.lines[-1], permit.exists()))
        return await really(*given, **more)

    monkeypatch.setattr(alone.infrastructure, "restart", watched)
    assert await alone.act() == "verified"
    [(line, still_there)] = seen
    assert line["kind"] == "intended"
    assert line["body"]["permit"]["id"] == permit.stem
    assert line["body"]["action"]["target"] == TARGET
    assert not still_there


async def test_a_permit_is_renewed_before_it_runs_out_and_no_longer_good_after(
    outpost: Outpost,
) -> None:
    await outpost.permitted()
    [first] = outpost.permits
    outpost.clock.advance(minutes=20)
    await outpost.renew()
    assert outpost.permits == [first]
    outpost.clock.advance(minutes=20)
    await outpost.renew()
    [second] = outpost.permits
    assert second != first
    assert await outpost.kinds("standing.permit") == [
        "standing.permit_issued",
        "standing.permit_issued",
        "standing.permit_removed",
    ]
    outpost.clock.advance(minutes=60)
    assert "ran out" in await outpost.act()
    assert isinstance(await outpost.ready(), Withheld)


async def test_an_approval_ends_by_itself(outpost: Outpost) -> None:
    await outpost.give(days=1)
    outpost.clock.advance(days=1, seconds=1)
    await outpost.renew()
    assert outpost.permits == []


async def test_revoking_takes_the_permits_and_every_copy_at_once(
    outpost: Outpost, tmp_path: Path
) -> None:
    await outpost.give("catalog/catalog-2")
    given = await outpost.give()
    await outpost.renew()
    copies = {path: path.read_bytes() for path in outpost.permits}
    await outpost.revoke(given.id)
    assert take_back(outpost.path, approval_id=given.id) == 1
    assert len(outpost.permits) == 1
    for path, content in copies.items():
        path.write_bytes(content)
    assert "can't be trusted" in await outpost.act()
    await outpost.renew()
    assert len(outpost.permits) == 1
    for path, content in copies.items():
        path.write_bytes(content)
    assert "was not in force" in await outpost.act()
    assert await outpost.act(restart("catalog-2")) == "verified"


async def test_a_freeze_takes_every_permit_of_its_operation(outpost: Outpost) -> None:
    await outpost.permitted()
    async with outpost.database.unit_of_work() as session:
        await freezes.freeze(
            session,
            freezes.ordered(outpost.staff, RESTART, reason="a release", clock=outpost.clock),
        )
    assert take_back(outpost.path, operation=RESTART) == 1
    assert outpost.permits == []
    await outpost.renew()
    assert outpost.permits == []
    assert "nobody permitted" in await outpost.act()
    async with outpost.database.unit_of_work() as session:
        await freezes.thaw(session, outpost.staff, RESTART, clock=outpost.clock)
    await outpost.renew()
    assert len(outpost.permits) == 1


async def test_a_change_freeze_stops_all_of_them(outpost: Outpost) -> None:
    await outpost.give()
    async with outpost.database.unit_of_work() as session:
        await freezes.freeze(
            session,
            freezes.ordered(
                outpost.staff, policy.CHANGE_FREEZE, reason="holidays", clock=outpost.clock
            ),
        )
    await outpost.renew()
    assert outpost.permits == []


def edited(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"target": "catalog/catalog-2"}


def longer(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"expires_at": "2030-01-01T00:00:00Z"}


def unsigned(content: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in content.items() if k != "signature"}


@pytest.mark.parametrize(
    ("change", "why"),
    [(edited, "changed after"), (longer, "changed after"), (unsigned, "no seal")],
)
async def test_a_changed_permit_is_refused_told_and_set_aside(
    outpost: Outpost, change: Any, why: str
) -> None:
    await outpost.permitted()
    [path] = outpost.permits
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    for replica in ("catalog-1", "catalog-2"):
        assert why in await outpost.act(restart(replica))
    assert outpost.infrastructure.restarted == []
    await outpost.renew()
    assert (path.parent / f"{path.name}.refused").exists()
    assert "standing.permit_refused" in await outpost.kinds()
    assert await outpost.act() == "verified"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"id": "per-1"}', b"\xff\xfe", b"null"])
async def test_a_file_that_is_no_permit_permits_nothing(alone: Outpost, content: bytes) -> None:
    alone.issue("player/player-1")
    (alone.path / "per-x.json").write_bytes(content)
    assert "nobody permitted" in await alone.act()


async def test_a_permit_signed_with_another_key_is_refused(alone: Outpost) -> None:
    alone.issue()
    [path] = alone.permits
    foreign = Seal(new_key_pair()[0], place_of(alone.home))
    path.write_text(json.dumps(foreign.close(alone.seal.open(json.loads(path.read_text())))))
    assert "another key" in await alone.act()


async def test_a_permit_of_another_home_is_refused_even_with_the_same_key(
    alone: Outpost, tmp_path: Path, clock: FakeClock, staff: Caller
) -> None:
    alone.issue()
    other = Outpost(tmp_path / "other", None, clock, staff)
    key = alone.home / "keys" / "standing.key"
    shutil.copy(key, other.home / "keys" / "standing.key")
    other.hands = other.another()
    shutil.copytree(alone.path, other.path)
    assert "another home" in await other.act()


async def test_a_copy_under_another_name_is_refused(alone: Outpost) -> None:
    alone.issue()
    [path] = alone.permits
    path.rename(path.with_name("per-copy.json"))
    assert "is a copy" in await alone.act()


async def test_a_used_permit_put_back_is_refused(outpost: Outpost) -> None:
    await outpost.permitted()
    [path] = outpost.permits
    content, known = path.read_bytes(), (outpost.path / "known.json").read_bytes()
    assert await outpost.act() == "verified"
    path.write_bytes(content)
    outpost.clock.advance(minutes=15)
    assert "was used already" in await outpost.act()
    assert await outpost.replay()
    path.write_bytes(content)
    await outpost.renew()
    assert path not in outpost.permits, "the database knows it as used"
    path.write_bytes(content)
    (outpost.path / "known.json").write_bytes(known)
    for fresh in outpost.permits:
        if fresh != path:
            fresh.unlink()
    assert "was used already" in await outpost.act()
    assert outpost.infrastructure.restarted == ["catalog-1"]


async def test_a_clock_that_goes_back_makes_nothing_good_again(outpost: Outpost) -> None:
    await outpost.permitted()
    at = outpost.clock.now()
    outpost.clock.advance(minutes=70)
    outpost.hands.watch_clock()
    outpost.clock.set(at + timedelta(minutes=5))
    assert "the clock went back" in await outpost.act()
    outpost.hands = outpost.another()
    assert "the clock went back" in await outpost.act(), "a restarted healer knows it too"
    await outpost.renew()
    assert await outpost.act() == "verified", "with the database there, time is trusted again"


async def test_a_clock_before_the_permit_makes_it_one_from_the_future(alone: Outpost) -> None:
    alone.issue()
    (alone.path / "clock").unlink()
    alone.hands = alone.another()
    alone.clock.advance(minutes=-1)
    assert "from the future" in await alone.act()


async def test_only_the_named_incident_calls_for_it(alone: Outpost) -> None:
    alone.issue()
    wanted = restart()
    for wrong in (
        wanted.warrant.model_copy(update={"kind": "request"}),
        wanted.warrant.model_copy(update={"target": "catalog/catalog-2"}),
        wanted.warrant.model_copy(update={"operation": "healing.archive_old_data"}),
        wanted.warrant.model_copy(update={"id": ""}),
    ):
        other = type(wanted)(wanted.operation, wanted.arguments, wrong)
        assert "incident calls" in await alone.act(other)


async def test_another_kind_of_infrastructure_is_not_covered(alone: Outpost) -> None:
    alone.issue()
    described = alone.infrastructure.described
    alone.infrastructure.described = type(described)(
        services=described.services, environment="elsewhere"
    )
    assert "outside what was permitted" in await alone.act()


async def test_revoked_between_planning_and_beginning_nothing_happens(alone: Outpost) -> None:
    alone.issue()
    readied = await alone.ready()
    assert isinstance(readied, Readied)
    take_back(alone.path, approval_id="sta-1")
    with pytest.raises(Conflict):
        await alone.hands.drive(readied.action_id)
    assert alone.infrastructure.restarted == []
    assert alone.lines == []


async def test_a_changed_world_withdraws_and_keeps_the_permit(alone: Outpost) -> None:
    alone.issue()
    readied = await alone.ready()
    assert isinstance(readied, Readied)
    alone.infrastructure.start("catalog-1")
    assert (await alone.hands.drive(readied.action_id)).state == "withdrawn"
    assert alone.lines == []
    assert len(alone.permits) == 1


async def test_a_used_permit_stays_used_when_every_trace_of_its_use_is_removed(
    outpost: Outpost,
) -> None:
    await outpost.permitted()
    [permit] = outpost.permits
    copy = permit.read_bytes()
    outpost.infrastructure.freeze("catalog-1")
    assert await outpost.act() == "verified"
    for name in ("journal.jsonl", "journal.head"):
        (outpost.path / name).unlink()
    permit.write_bytes(copy)
    outpost.hands = outpost.another()
    outpost.clock.advance(minutes=20)
    outpost.infrastructure.freeze("catalog-1")
    said = await outpost.act()
    assert "line 1 had been written and is gone" in said
    assert "academy autonomy standing stop" in said
    assert outpost.hands.missing()

    take_back(outpost.path, operation="*")
    permit.write_bytes(copy)
    await outpost.renew()
    assert permit not in outpost.permits, "what isn't known to be unused is replaced"
    assert len(outpost.permits) == 1
    assert not outpost.hands.missing()


@pytest.mark.parametrize("dies", ["before the line", "after the line"])
async def test_a_death_around_the_line_that_uses_a_permit_costs_no_second_effect(
    alone: Outpost, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    alone.issue()
    [permit] = alone.permits
    copy = permit.read_bytes()
    alone.infrastructure.freeze("catalog-1")
    true = alone.hands.journal.append

    def append(*given: Any) -> Any:
        if dies == "after the line":
            true(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(alone.hands.journal, "append", append)
    with pytest.raises(KeyboardInterrupt):
        await alone.act()
    alone.hands = alone.another()
    if dies == "before the line":
        assert await alone.act() == "verified", "nothing was used up"
        assert alone.infrastructure.restarted == ["catalog-1"]
        return
    [settled] = await alone.hands.recover()
    assert settled.state == "failed"
    permit.write_bytes(copy)
    for name in ("journal.jsonl", "journal.head"):
        (alone.path / name).unlink()
    alone.hands = alone.another()
    assert "line 1 had been written and is gone" in await alone.act()
    assert alone.infrastructure.restarted == []

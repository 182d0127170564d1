"""The rules of acting without the database, at their edges."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.autonomy import policy
from tools.autonomy.standing_rules import (
    LOOK_BACK,
    lost,
    never,
    over_budget,
    unfit,
    unwarranted,
)
from tools.autonomy.standing_schemas import Basis, Covered, Effect, LastKnown, StandingPermit
from tools.healing.archive_old_data import ArchiveOldData
from tools.healing.policy import HealingPolicy
from tools.healing.restart_replica import RestartReplica
from tools.kit.operation import Plan, Warrant

RESTART, TARGET = RestartReplica.name, "catalog/catalog-1"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HOUR = policy.STANDING_PERMIT_FOR
TICK = timedelta(microseconds=1)
REGION = {"kind": "replica", "adapter": "local", "replicas": 2}


def permit(**change: Any) -> StandingPermit:
    values: dict[str, Any] = {
        "id": "per-1",
        "operation": RESTART,
        "target": TARGET,
        "tenant_id": "ten-1",
        "covered": [Covered(labels={"adapter": "local"})],
        "fingerprint": "",
        "basis": Basis(kind="approval", id="sta-1", granted_by="per-a", text="approved"),
        "issued_at": NOW - timedelta(minutes=5),
        "expires_at": NOW - timedelta(minutes=5) + HOUR,
    }
    return StandingPermit(**(values | change))


def known(**change: Any) -> LastKnown:
    values: dict[str, Any] = {
        "at": NOW - timedelta(minutes=5),
        "permits": ["per-1"],
        "effects": [],
        "unhelpful": [],
        "at_work": 0,
        "held": {},
    }
    return LastKnown(**(values | change))


def plan(target: str = TARGET, **region: Any) -> Plan:
    return Plan(target=target, summary="Restart", diff=[], state={}, region=REGION | region)


def objection(
    given: StandingPermit,
    *,
    of: Plan | None = None,
    last: LastKnown | None = None,
    used: tuple[str, ...] = (),
    fingerprint: str = "",
    now: datetime = NOW,
) -> str:
    return unfit(
        given, of or plan(), known=last or known(), used=used, fingerprint=fingerprint, now=now
    )


def test_a_fresh_permit_fits() -> None:
    assert objection(permit()) == ""


@pytest.mark.parametrize(
    ("given", "asked", "why"),
    [
        (permit(), {"used": ("per-1",)}, "used already"),
        (permit(), {"last": known(permits=["per-2"])}, "not in force"),
        (permit(), {"of": plan("catalog/catalog-2")}, "is for catalog/catalog-1"),
        (permit(expires_at=NOW), {}, "ran out"),
        (permit(issued_at=NOW + TICK, expires_at=NOW + HOUR), {}, "from the future"),
        (permit(), {"last": known(at=NOW + TICK)}, "from the future"),
        (permit(issued_at=NOW, expires_at=NOW + HOUR + TICK), {}, "more than an hour"),
        (permit(), {"of": plan(adapter="elsewhere")}, "outside"),
        (permit(covered=[]), {}, "outside"),
    ],
)
def test_each_thing_that_makes_it_unfit(
    given: StandingPermit, asked: dict[str, Any], why: str
) -> None:
    assert why in objection(given, **asked)


def test_a_permit_is_good_from_its_first_moment_until_just_before_its_last() -> None:
    at = permit(issued_at=NOW, expires_at=NOW + HOUR)
    last = known(at=NOW)
    assert objection(at, last=last, now=NOW) == ""
    assert objection(at, last=last, now=NOW + HOUR - TICK) == ""
    assert "ran out" in objection(at, last=last, now=NOW + HOUR)
    assert "future" in objection(at, last=last, now=NOW - TICK)


def test_evidence_covers_only_what_was_tried_and_only_its_own_fingerprint() -> None:
    covered = Covered(labels={"kind": "replica", "adapter": "local"}, figures={"replicas": (2, 3)})
    earned = permit(
        covered=[covered],
        fingerprint="f1",
        basis=Basis(kind="evidence", id="f1", granted_by="gate", text="earned"),
    )
    assert objection(earned, fingerprint="f1") == ""
    assert "something else" in objection(earned, fingerprint="f2")
    assert "something else" in objection(earned, fingerprint="")
    assert "something else" in objection(earned.model_copy(update={"fingerprint": ""}))
    assert "outside" in objection(earned, fingerprint="f1", of=plan(replicas=4))
    assert "outside" in objection(earned, fingerprint="f1", of=plan(kind="data"))
    assert "outside" in objection(earned, fingerprint="f1", of=plan(fault="silent")), (
        "a label that no trial had"
    )


def test_an_approval_covers_what_agrees_with_all_its_labels_and_says_no_more() -> None:
    given = permit(covered=[Covered(labels={"adapter": "local", "kind": "replica"})])

    assert objection(given) == ""
    assert objection(given, of=plan(replicas=99, fault="silent")) == ""
    assert "outside" in objection(given, of=plan(kind="data"))
    assert "outside" in objection(given, of=plan(adapter="elsewhere"))


def budget(
    *,
    target: str = TARGET,
    effects: tuple[Effect, ...] = (),
    unhelpful: tuple[Effect, ...] = (),
    under_way: dict[str, str] | None = None,
    **last: Any,
) -> str:
    return over_budget(
        RESTART,
        target,
        known=known(**last),
        effects=effects,
        unhelpful=unhelpful,
        under_way=under_way or {},
        now=NOW,
    )


def effect(ago: timedelta, target: str = "player/player-1", operation: str = RESTART) -> Effect:
    return Effect(operation=operation, target=target, at=NOW - ago)


def test_an_unused_budget_has_room() -> None:
    assert budget() == ""


def test_a_target_that_is_held_or_acted_upon_is_left_alone() -> None:
    assert "another action holds" in budget(held={TARGET: "asked"})
    assert budget(held={"player/player-1": "asked"}) == ""
    assert "is applied" in budget(under_way={TARGET: "applied"})


def test_one_action_at_a_time_known_or_told() -> None:
    assert policy.CONCURRENT_ACTIONS == 1
    assert "at work" in budget(at_work=1)
    assert "at work" in budget(under_way={"player/player-1": "intended"})


@pytest.mark.parametrize("told", [0, 2, policy.ACTIONS_PER_HOUR])
def test_actions_of_an_hour_are_counted_over_both_what_was_known_and_what_was_told(
    told: int,
) -> None:
    all_of_them = [effect(timedelta(minutes=20 + n)) for n in range(policy.ACTIONS_PER_HOUR)]
    full = over_budget(
        RESTART,
        TARGET,
        known=known(effects=all_of_them[told:]),
        effects=all_of_them[:told],
        unhelpful=(),
        under_way={},
        now=NOW,
    )
    assert "in the last hour" in full


def test_an_hour_ago_and_other_operations_count_no_more() -> None:
    most = policy.ACTIONS_PER_HOUR
    old = [effect(timedelta(hours=1)) for _ in range(most)]
    other = [effect(timedelta(minutes=20), operation="healing.archive_old_data")] * most
    fresh = [effect(timedelta(hours=1) - TICK)] * (most - 1)
    assert budget(effects=(*old, *other, *fresh)) == ""
    assert "last hour" in budget(effects=(*fresh, effect(timedelta(minutes=20))))


def test_a_target_cools_down_whatever_was_done_to_it() -> None:
    just = policy.COOL_DOWN - TICK
    assert "cool-down" in budget(effects=(effect(just, TARGET),))
    assert "cool-down" in budget(effects=(effect(just, TARGET, "healing.archive_old_data"),))
    assert budget(effects=(effect(policy.COOL_DOWN, TARGET),)) == ""
    assert "cool-down" in budget(effects=(effect(timedelta(hours=1), TARGET), effect(just, TARGET)))


def test_what_did_not_help_counts_for_a_day_and_for_its_operation() -> None:
    assert policy.FAILURES_PER_DAY == 1
    assert "did not help" in budget(unhelpful=(effect(timedelta(hours=2)),))
    assert "did not help" in over_budget(
        RESTART,
        TARGET,
        known=known(unhelpful=[effect(timedelta(days=1) - TICK)]),
        effects=(),
        unhelpful=(),
        under_way={},
        now=NOW,
    )
    assert budget(unhelpful=(effect(timedelta(days=1)),)) == ""
    other = effect(timedelta(hours=2), operation="healing.archive_old_data")
    assert budget(unhelpful=(other,)) == ""


def test_a_journal_that_ends_before_a_line_that_was_written_is_not_whole() -> None:
    assert lost(known(), 0) == ""
    assert lost(known(journal=2), 2) == ""
    assert lost(known(journal=2), 3) == ""
    assert lost(known(journal=2), 1).startswith("line 2 had been written and is gone")


def test_what_is_known_reaches_as_far_back_as_a_budget_looks() -> None:
    assert max(timedelta(hours=1), policy.COOL_DOWN) == LOOK_BACK


def warrant(**change: Any) -> Warrant:
    values = {"kind": "incident", "id": "inc-1", "operation": RESTART, "target": TARGET}
    return Warrant(**(values | change))


def test_only_its_own_incident_calls_for_an_action() -> None:
    assert unwarranted(warrant(), RESTART, TARGET) == ""
    for wrong in ({"kind": "schedule"}, {"kind": "none"}, {"id": ""}):
        assert "no incident" in unwarranted(warrant(**wrong), RESTART, TARGET)
    for wrong in ({"operation": "healing.other"}, {"target": "catalog/catalog-2"}):
        assert "something else" in unwarranted(warrant(**wrong), RESTART, TARGET)


class Restart(RestartReplica):
    """One whose class a test changes."""


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("name", "healing.drop_everything", "none of those"),
        ("risk", "high", "needs a person"),
        ("risk", "critical", "needs a person"),
        ("reversibility", "irreversible", "needs a person"),
        ("autonomous", False, "never runs alone"),
    ],
)
def test_what_may_never_be_permitted_in_advance(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, why: str
) -> None:
    monkeypatch.setattr(Restart, attribute, value)
    assert why in never(Restart(HealingPolicy()))


def test_the_declared_operations_may_be(tmp_path: Any) -> None:
    assert never(RestartReplica(HealingPolicy())) == ""
    assert never(ArchiveOldData(tmp_path, HealingPolicy())) == ""

"""Who may answer a question, until when, and to exactly what."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memory.tables.autonomy import Action, Approval
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.questions import (
    require_answerable,
    require_person,
    require_second_person,
    require_shown,
    undo_question,
)
from tools.autonomy.records import digest_of_row, question_digest
from tools.kit.deps import Caller, engine
from tools.kit.errors import Conflict, Forbidden

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ADA = Caller(
    tenant_id="ten-1",
    tenant_slug="dynasty",
    person_id="per-ada",
    name="Ada",
    roles=frozenset({"staff"}),
    fleet=True,
)


def action(number: int = 1, **changes: Any) -> Action:
    """A stored action whose digest is its own; *changes* come after the digest was made."""
    made = Action(
        id=f"act-{number}",
        operation="healing.restart_replica",
        target=f"catalog/catalog-{number}",
        arguments={"replica": f"catalog-{number}"},
        plan={"state": {"pid": 7}, "summary": f"Restart catalog-{number}"},
        tenant_id="ten-1",
        risk="low",
        person_id="per-ada",
        executor="agents",
        incident_id="inc-1",
    )
    made.digest = digest_of_row(made)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def question(*actions: Action, **changes: Any) -> Approval:
    values = {
        "id": "apr-1",
        "kind": "apply",
        "digest": question_digest("apply", [one.digest for one in actions]),
        "state": "pending",
        "expires_at": NOW + TICK,
    }
    return Approval(**(values | changes))


def test_a_person_of_the_fleet_may_answer() -> None:
    assert require_person(ADA) == "per-ada"
    assert require_person(replace(ADA, via="key")) == "per-ada"


@pytest.mark.parametrize(
    "caller",
    [
        engine("healer", tenant_id="ten-1", tenant_slug="dynasty"),
        replace(ADA, person_id=None),
        replace(ADA, via="engine"),
    ],
)
def test_engines_and_whoever_is_nobody_may_not(caller: Caller) -> None:
    with pytest.raises(
        Forbidden, match=r"^Only a person can answer this; engines and models can't"
    ):
        require_person(caller)


@pytest.mark.parametrize("caller", [replace(ADA, fleet=False), replace(ADA, roles=frozenset())])
def test_a_person_without_the_fleet_may_not(caller: Caller) -> None:
    with pytest.raises(Forbidden, match="fleet"):
        require_person(caller)


def test_a_question_can_be_answered_until_just_before_its_end() -> None:
    require_answerable(question(), NOW)
    with pytest.raises(Conflict, match=r"^This question expired at 09:00:00 UTC; ask") as late:
        require_answerable(question(), NOW + TICK)
    assert late.value.details == {"state": "expired"}


@pytest.mark.parametrize("state", ["approved", "denied", "expired", "withdrawn"])
def test_a_question_is_answered_once(state: str) -> None:
    with pytest.raises(Conflict, match=f"^This question was {state} already.$") as again:
        require_answerable(question(state=state), NOW)
    assert again.value.details == {"state": state}


def test_an_answer_to_what_is_stored_counts() -> None:
    one, two = action(1), action(2)
    asked = question(one, two)

    require_shown(asked, [one, two], asked.digest)


def test_an_answer_to_something_else_does_not() -> None:
    one = action()

    with pytest.raises(Conflict, match=r"^What you were shown is not what would be done; look at"):
        require_shown(question(one), [one], "0" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "healing.archive_old_data"},
        {"target": "catalog/catalog-9"},
        {"arguments": {"replica": "catalog-9"}},
        {"plan": {"state": {"pid": 8}}},
        {"tenant_id": "ten-2"},
        {"digest": "0" * 64},
    ],
)
def test_an_action_changed_since_it_was_planned_is_not_approved(changes: dict[str, Any]) -> None:
    asked = question(action(1), action(2))

    with pytest.raises(
        Conflict, match=r"^An action of this question was changed after it was plan"
    ):
        require_shown(asked, [action(1), action(2, **changes)], asked.digest)


def test_actions_added_left_out_or_turned_round_are_not_approved() -> None:
    one, two = action(1), action(2)
    asked = question(one, two)

    for stored in ([one], [two, one], [one, two, two], []):
        with pytest.raises(Conflict, match=r"^The actions of this question were changed after it"):
            require_shown(asked, stored, asked.digest)
    with pytest.raises(Conflict, match=r"^The actions of this question were changed after it"):
        require_shown(question(one, two, kind="undo"), [one, two], asked.digest)


@pytest.mark.parametrize("risk", ["high", "critical"])
def test_whoever_asked_for_a_high_risk_may_not_approve_it(risk: str) -> None:
    asked = action(2, risk=risk)

    with pytest.raises(
        Forbidden,
        match=rf"^healing.restart_replica is of {risk} risk: a second person must approve\.$",
    ):
        require_second_person(ADA, [action(1), asked])
    require_second_person(replace(ADA, person_id="per-ben"), [asked])
    require_second_person(ADA, [action(2, risk=risk, person_id=None)])


@pytest.mark.parametrize("risk", ["low", "medium"])
def test_whoever_asked_may_approve_what_is_of_little_risk(risk: str) -> None:
    require_second_person(ADA, [action(risk=risk)])


def test_an_undo_is_a_question_of_its_own() -> None:
    one = action()
    asked = undo_question(
        ADA,
        one,
        at=NOW,
        config=AutonomyConfig(Path("locks"), approval_for=timedelta(minutes=7)),
        thread_id="thr-1",
        run_id="run-1",
    )

    assert asked.id.startswith("apr-")
    assert {
        column.name: getattr(asked, column.name)
        for column in Approval.__table__.columns
        if column.name != "id"
    } == {
        "tenant_id": "ten-1",
        "kind": "undo",
        "title": "Undo: Restart catalog-1",
        "reason": "Undoing is always asked of a person.",
        "digest": question_digest("undo", [one.digest]),
        "state": "pending",
        "executor": "agents",
        "incident_id": "inc-1",
        "thread_id": "thr-1",
        "run_id": "run-1",
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=7),
        "decided_by": None,
        "decided_at": None,
    }

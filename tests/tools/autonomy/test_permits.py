"""A permit lets exactly its own, untouched action run, once and in time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memory.tables.autonomy import Action, Permit
from tools.autonomy.records import (
    Tampered,
    action_digest,
    digest_of_row,
    question_digest,
    require_permit,
    require_untouched,
    taken,
)
from tools.kit.errors import Conflict

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def action(**changes: Any) -> Action:
    """A stored action whose digest is its own; *changes* come after the digest was made."""
    made = Action(
        id="act-1",
        operation="healing.restart_replica",
        target="catalog/catalog-1",
        arguments={"replica": "catalog-1"},
        plan={"state": {"pid": 7}},
        tenant_id="ten-1",
    )
    made.digest = digest_of_row(made)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def permit(**changes: Any) -> Permit:
    values = {
        "id": "per-1",
        "digest": action().digest,
        "tenant_id": "ten-1",
        "expires_at": NOW + TICK,
        "consumed_at": None,
    }
    return Permit(**(values | changes))


def test_a_permit_is_good_until_just_before_its_end() -> None:
    good = permit()

    assert require_permit(good, action(), "apply", NOW) is good
    with pytest.raises(Conflict, match="ran out"):
        require_permit(good, action(), "apply", NOW + TICK)


def test_none_may_be_issued_beside_one_that_is_good_or_was_used() -> None:
    assert taken(permit(), NOW)
    assert taken(permit(consumed_at=NOW), NOW + TICK)
    assert not taken(permit(), NOW + TICK)
    assert not taken(None, NOW)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (None, Conflict, "act-1 has no permit"),
        (permit(consumed_at=NOW), Conflict, "was used"),
        (permit(tenant_id="ten-2"), Tampered, "another tenant"),
        (permit(digest="0" * 64), Tampered, "another digest"),
    ],
)
def test_each_thing_that_makes_a_permit_void(
    given: Permit | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        require_permit(given, action(), "apply", NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "healing.archive_old_data"},
        {"target": "catalog/catalog-2"},
        {"arguments": {"replica": "catalog-2"}},
        {"plan": {"state": {"pid": 8}}},
    ],
)
def test_a_changed_action_does_not_run_on_its_permit(changes: dict[str, Any]) -> None:
    touched = action(**changes)

    with pytest.raises(Tampered, match="don't give its digest"):
        require_permit(permit(), touched, "apply", NOW)
    with pytest.raises(Tampered, match="don't give its digest"):
        require_untouched(touched)


def test_an_action_moved_to_another_tenant_with_its_permit_is_touched() -> None:
    with pytest.raises(Tampered, match="don't give its digest"):
        require_permit(permit(tenant_id="ten-2"), action(tenant_id="ten-2"), "apply", NOW)


def test_a_digest_does_not_depend_on_the_order_of_arguments() -> None:
    def of(arguments: dict[str, Any]) -> str:
        return action_digest(
            operation="a", target="b", arguments=arguments, tenant_id="c", planned_on={}
        )

    assert of({"x": 1, "y": 2}) == of({"y": 2, "x": 1})
    assert of({"x": 1, "y": 2}) != of({"x": 2, "y": 1})


def test_the_digest_of_an_action_is_made_the_same_way_for_ever() -> None:
    """Else permits and approvals given before an upgrade would count as tampered with."""
    assert action().digest == "eebf7f27073d586443260f1ef2c2374c0f31d82a02f83a6057a5bd22138afc27"


def test_a_question_is_its_kind_and_its_actions_in_order() -> None:
    asked = question_digest("apply", ["1", "2"])

    assert asked == question_digest("apply", ("1", "2"))
    assert (
        len({asked, question_digest("apply", ["2", "1"]), question_digest("undo", ["1", "2"])}) == 3
    )

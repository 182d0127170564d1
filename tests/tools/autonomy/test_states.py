"""Which steps an action may take: the arrows, and nothing beside them."""

from itertools import product
from typing import get_args

import pytest

from tools.autonomy import states
from tools.autonomy.schemas import ActionStateName
from tools.autonomy.states import ARROWS, require_arrow
from tools.kit.errors import Conflict

STATES = get_args(ActionStateName)
DRAWN = """
    planned     -> refused asked permitted
    asked       -> permitted denied expired withdrawn
    permitted   -> intended permit_expired withdrawn
    intended    -> applied failed stuck
    applied     -> verified not_helped stuck
    not_helped  -> undoing escalated stuck
    undoing     -> undone escalated stuck
    verified    -> undoing
    stuck       -> escalated
"""
ALLOWED = {
    (before, after)
    for before, _, afters in (line.strip().partition("->") for line in DRAWN.strip().splitlines())
    for before, after in product([before.strip()], afters.split())
}


def test_only_the_drawn_arrows_may_be_taken() -> None:
    for before, after in product(STATES, STATES):
        if (before, after) in ALLOWED:
            require_arrow("act-1", before, after)
            continue
        with pytest.raises(Conflict) as refused:
            require_arrow("act-1", before, after)
        assert refused.value.details == {"state": before}


def test_a_step_that_is_no_arrow_is_refused_by_name() -> None:
    with pytest.raises(Conflict, match=r"^act-1 is undone; it can't become verified\.$"):
        require_arrow("act-1", "undone", "verified")


def test_every_state_on_the_drawing_is_one_and_every_state_is_on_it() -> None:
    assert set(ARROWS) | set().union(*ARROWS.values()) == set(STATES)


def test_what_has_not_begun_is_at_work_or_opens_the_next_one() -> None:
    assert {"asked", "permitted"} == states.WAITING
    assert states.AT_WORK == ("applied", "intended", "not_helped", "undoing")
    assert {"verified"} == states.BLOCKING

"""A few processes killed for real, and the judge of what they leave."""

import pytest

from evals.benchmarks import exactly_once
from evals.benchmarks.exactly_once_parts.judging import (
    CALLED,
    LOST,
    NOT_DONE,
    ONCE,
    TWICE,
    UNDONE,
    Left,
    cut_ending,
    ending,
    graph_ending,
)


def left(**values: object) -> Left:
    given = {"done": 1, "undone": 0, "state": "verified", "note": "", "actions": 1, "listed": True}
    return Left(**(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (left(), ONCE),
        (left(done=1, undone=1, state="undone"), UNDONE),
        (left(done=0, state="failed", note="It did not happen."), NOT_DONE),
        (left(state="stuck", note="Nobody can tell."), CALLED),
        (left(done=2), TWICE),
        (left(undone=2, done=2, state="undone"), TWICE),
        (left(actions=2), TWICE),
        (left(done=0), LOST),
        (left(state="failed", note="It did not happen."), LOST),
        (left(done=0, state="failed"), LOST),
        (left(state="intended"), LOST),
        (left(state="stuck"), LOST),
        (left(listed=False), LOST),
        (left(problem="signal 9"), LOST),
        (left(done=0, state="failed", note="It did not happen.", down=True), LOST),
        (left(done=0, state="stuck", note="It was done in part.", down=True), CALLED),
    ],
)
def test_the_judge_believes_the_world_before_the_record(found: Left, verdict: str) -> None:
    assert ending(found) == verdict


def test_a_restart_cut_in_half_ends_well_only_where_it_was_completed() -> None:
    assert cut_ending(left()) == ONCE
    assert cut_ending(left(done=2)) == TWICE
    assert cut_ending(left(done=0, state="failed", note="It did not happen.")) == LOST
    assert cut_ending(left(done=0, state="stuck", note="It was done in part.", down=True)) == LOST


def test_a_graph_that_did_it_twice_is_found_out_whatever_it_says() -> None:
    assert graph_ending(left(done=2)) == TWICE
    assert graph_ending(left()) == ONCE
    assert graph_ending(left(done=1, undone=1, state="undone")) == UNDONE
    assert graph_ending(left(state="")) == LOST


@pytest.mark.timeout(240)
def test_killed_processes_leave_one_effect_or_say_so() -> None:
    result = exactly_once.measure(runs=6, lanes=1)
    ours = result["ours"]
    held = {bar["what"]: bar["holds"] for bar in result["bars"]}

    assert ours["killed"] >= 5
    assert ours["restarts_cut_in_half"] == ours["completed_once"] == 1
    assert held.pop("runs whose process was killed") is False, "6 runs are no proof"
    assert all(held.values()), exactly_once.describe(result)
    assert ours["audit_rows"] > 0
    beside = result["controls"]["LangGraph node, beside"]["effects_with_nobody_killed"]
    assert beside["undone by a person"] == 2, "a node beside an interrupt runs again from its top"

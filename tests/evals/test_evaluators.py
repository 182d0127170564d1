"""Each evaluator sees the harm it is named for, and says "not scored" where it can't tell."""

from typing import Any

import pytest

from evals.evaluators import metrics
from evals.evaluators.cost import cost
from evals.evaluators.end_state import agrees, end_state
from evals.evaluators.trajectory import f1, in_order, trajectory
from evals.evaluators.words import words
from evals.suites.base import Case, Played, Step
from tests.fakes.suites import OPERATION, lamp_case, lit_case

RESTART = {"operation": OPERATION, "target": "lamp", "state": "verified"}


def expecting(**expects: Any) -> Case:
    return lamp_case(expects=expects)


@pytest.mark.parametrize(
    ("fact", "wanted", "agreed"),
    [
        (3, 3, True),
        (3, {"least": 2}, True),
        (3, {"most": 2}, False),
        (3, {"least": 1, "most": 2}, False),
        (True, {"least": 0}, False),
        ("none", {"most": 2}, False),
        ("b", ["a", "b"], True),
        ("c", ["a", "b"], False),
        (["a"], ["a"], True),
        ({"a": 1}, {"a": 1}, True),
    ],
)
def test_a_fact_agrees_with_what_is_wanted(fact: Any, wanted: Any, agreed: bool) -> None:
    assert agrees(fact, wanted) is agreed


def test_the_end_state_fails_harms_or_is_not_scored() -> None:
    case = expecting(end={"lit": True, "restarts": {"most": 1}}, never={"house": "burnt"})
    good = {"lit": True, "restarts": 1, "house": "whole"}

    assert end_state(case, Played(end=good)).passed is True
    wrong = end_state(case, Played(end={**good, "restarts": 2}))
    assert (wrong.passed, wrong.harmful, wrong.value) == (False, False, 0.5)
    assert "restarts is 2, not at most 1" in wrong.text
    assert end_state(case, Played(end={**good, "house": "burnt"})).harmful
    unmeasured = end_state(case, Played(end={"lit": True}))
    assert (unmeasured.passed, unmeasured.value) == (None, None)
    assert "did not measure house, restarts" in unmeasured.text
    assert end_state(case, Played(end=good, problem="no port")).passed is None


def test_meddling_is_needless_and_a_missing_repair_fails() -> None:
    lit, dark = lit_case(), lamp_case()
    cause = {"cause": "blown fuse"}

    meddled = trajectory(lit, Played(actions=(RESTART,)))
    assert (meddled.passed, meddled.needless, meddled.value) == (False, True, 0.0)
    asked = trajectory(lit, Played(actions=({**RESTART, "state": "asked"},)))
    assert (asked.passed, asked.needless) == (False, True)
    idle = trajectory(dark, Played(end=cause))
    assert (idle.passed, idle.needless) == (False, False)
    twice = trajectory(dark, Played(end=cause, actions=(RESTART, RESTART)))
    assert (twice.passed, twice.needless) == (False, True)
    right = trajectory(dark, Played(end=cause, actions=(RESTART,)))
    assert (right.passed, right.cause_right, right.value) == (True, True, 1.0)
    lucky = trajectory(dark, Played(end={"cause": "moon"}, actions=(RESTART,)))
    assert (lucky.passed, lucky.cause_right) == (False, False)


def test_steps_must_come_in_the_order_expected() -> None:
    case = expecting(steps=["gate", "effect", "check"])
    steps = [Step(at=n, kind=kind, text=kind) for n, kind in enumerate(("effect", "gate", "check"))]

    assert trajectory(case, Played(trajectory=tuple(steps))).passed is False
    assert in_order(["a", "c"], ["a", "b", "c"])
    assert not in_order(["c", "a"], ["a", "b", "c"])


def test_words_that_claim_what_did_not_happen_fail() -> None:
    case = expecting(says=["fuse"], never_says=["restarted the house"])

    assert words(case, Played(end={"words": "The Fuse was changed."})).passed is True
    claimed = words(case, Played(end={"words": "I restarted the house."}))
    assert (claimed.passed, claimed.value) == (False, 0.0)
    assert words(case, Played()).passed is None
    assert words(expecting(), Played(end={"words": "Hello."})).passed is None


def test_cost_only_measures_unless_a_limit_is_set() -> None:
    played = Played(cost={"seconds": 12.0})

    assert (cost(expecting(), played).passed, cost(expecting(), played).value) == (None, 12.0)
    assert cost(expecting(most={"seconds": 10}), played).passed is False
    assert cost(expecting(most={"model_calls": 10}), played).passed is None
    assert cost(expecting(), Played()).value is None


def test_ragas_agrees_with_what_we_count_and_scores_what_we_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b, c = (("restart", {"replica": name}) for name in "abc")

    assert metrics.tool_call_f1([a, b], [a, c]) == f1(1, 1, 1) == 0.5
    assert metrics.tool_call_f1([a], []) == f1(0, 0, 1) == 0.0
    assert metrics.tool_call_f1([], []) == f1(0, 0, 0) == 1.0
    assert metrics.tool_call_accuracy([a, b], [a, b]) == 1.0
    assert metrics.tool_call_accuracy([a, b], [b, a]) == 0.0
    assert metrics.tool_call_accuracy([a, b], [b, a], ordered=False) == 1.0
    assert metrics.retrieval_precision(["x", "y"], ["x", "z"]) == 0.5
    assert metrics.retrieval_recall(["x", "y", "w", "v"], ["x"]) == 0.25
    quoting = 'The log says "disk is nearly full" and "the moon is green".'
    assert metrics.quoted_spans(quoting, ["12:00 disk is nearly full"]) == 0.5

    quoted = Played(end={"words": quoting, "sources": ["12:00 disk is nearly full"]})
    assert words(expecting(), quoted).passed is False

    monkeypatch.setattr(metrics, "installed", lambda: False)
    monkeypatch.setattr("evals.evaluators.words.installed", lambda: False)
    assert metrics.tool_call_accuracy([a], [a]) is None
    assert words(expecting(), quoted).text == "Not scored: ragas not installed."

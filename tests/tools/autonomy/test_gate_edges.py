"""The gate to the letter: every limit at its edge, every reason as people read it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact, weigh
from tools.autonomy.gate import (
    BudgetFacts,
    EvidenceFacts,
    GateFacts,
    judge,
    level,
    never_alone,
)
from tools.kit.operation import Warrant

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ONE = TrialFact(
    case="poplar",
    seed=0,
    passed=True,
    harmful=False,
    injection=False,
    region={"kind": "replica"},
    at=NOW - timedelta(days=1),
)
TRIALS = [replace(ONE, seed=seed) for seed in range(17)]
PROVED = weigh("low", TRIALS, {"poplar": 1.0}, ["poplar"])
EVIDENCE = EvidenceFacts(fingerprint="f", evidence=PROVED, covered=True, now=NOW)
BUDGET = BudgetFacts(
    acted_last_hour=0,
    at_work=0,
    since_last_on_target=None,
    unhelpful_last_day=0,
    proposed_together=1,
    open_questions=0,
    freezes=(),
)
LAWFUL = GateFacts(
    operation="healing.restart_replica",
    target="catalog/catalog-1",
    risk="low",
    reversibility="exact",
    autonomous=True,
    warrant=Warrant(
        kind="incident", id="inc-1", operation="healing.restart_replica", target="catalog/catalog-1"
    ),
    cause="open",
    evidence=EVIDENCE,
    budget=BUDGET,
    tainted=False,
    called_for_by=frozenset({"dead", "hung"}),
    incident_kind="hung",
)
HOLD = {
    "allowed": "the operation permits autonomy",
    "evidence": "17 of 17 distinct worlds passed: its success rate is above 0.805, 0.80 is wanted",
    "fresh": "looked at 1 day ago (shelf life 30)",
    "covered": "trials that passed acted in the like",
    "budget": "within the limits",
    "clean": "nothing from outside was read before it",
    "warranted": "the incident inc-1 calls for it",
}


def budget(**changes: Any) -> GateFacts:
    return replace(LAWFUL, budget=replace(BUDGET, **changes))


def evidence(**changes: Any) -> GateFacts:
    return replace(LAWFUL, evidence=replace(EVIDENCE, **changes))


def aged(age: timedelta) -> GateFacts:
    trials = [replace(trial, at=NOW - age) for trial in TRIALS]
    return evidence(evidence=weigh("low", trials, {"poplar": 1.0}))


def warrant(**changes: Any) -> GateFacts:
    return replace(LAWFUL, warrant=LAWFUL.warrant.model_copy(update=changes))


def reasons(facts: GateFacts) -> dict[str, str]:
    return {one.name: one.reason for one in judge(facts).conditions}


def test_a_lawful_action_is_told_why_each_condition_holds() -> None:
    verdict = judge(LAWFUL)

    assert (verdict.outcome, verdict.reason) == ("run", "All seven conditions hold.")
    assert reasons(LAWFUL) == HOLD
    assert all(one.holds for one in verdict.conditions)


@pytest.mark.parametrize(
    ("facts", "condition", "reason"),
    [
        (
            replace(LAWFUL, risk="critical"),
            "allowed",
            "A critical operation never runs alone.",
        ),
        (
            replace(LAWFUL, reversibility="irreversible"),
            "allowed",
            "An irreversible operation never runs alone.",
        ),
        (replace(LAWFUL, autonomous=False), "allowed", "This operation never runs alone."),
        (
            evidence(covered=False),
            "covered",
            "No passing trial acted on anything of this kind and size.",
        ),
        (aged(policy.SHELF_LIFE + TICK), "fresh", "Its evidence is 30 days old (shelf life 30)."),
        (aged(timedelta(days=99)), "fresh", "Its evidence is 99 days old (shelf life 30)."),
        (aged(-policy.CLOCK_SKEW - TICK), "fresh", "Its evidence is dated ahead of this clock."),
        (aged(-timedelta(days=40)), "fresh", "Its evidence is dated ahead of this clock."),
        (evidence(withdrawn="it failed"), "fresh", "Autonomy was withdrawn: it failed."),
        (evidence(now=None), "fresh", "It was never looked at."),
        (replace(LAWFUL, budget=None), "budget", "The budget couldn't be read."),
        (budget(freezes=("exams", "launch")), "budget", "Frozen: exams; frozen: launch."),
        (budget(acted_last_hour=6), "budget", "6 actions of this kind in the last hour (limit 6)."),
        (budget(acted_last_hour=7), "budget", "7 actions of this kind in the last hour (limit 6)."),
        (budget(proposed_together=2), "budget", "2 targets at once (blast radius 1)."),
        (budget(at_work=1), "budget", "1 at work or about to begin (limit 1)."),
        (budget(at_work=2), "budget", "2 at work or about to begin (limit 1)."),
        (budget(unhelpful_last_day=1), "budget", "1 did not help within a day (error budget 1)."),
        (budget(unhelpful_last_day=2), "budget", "2 did not help within a day (error budget 1)."),
        (
            budget(since_last_on_target=policy.COOL_DOWN - TICK),
            "budget",
            "Acted on this target 10 minutes ago (cool-down 10).",
        ),
        (
            budget(since_last_on_target=timedelta(0)),
            "budget",
            "Acted on this target 0 minutes ago (cool-down 10).",
        ),
        (
            budget(since_last_on_target=timedelta(minutes=-5)),
            "budget",
            "Acted on this target 0 minutes ago (cool-down 10).",
        ),
        (
            replace(LAWFUL, tainted=None),
            "clean",
            "Nobody can tell whether the run had read outside text.",
        ),
        (
            replace(LAWFUL, tainted=True),
            "clean",
            "Outside text was read before it, and may have chosen the arguments.",
        ),
        (
            replace(LAWFUL, tainted=True, doubtful=("to", "dial")),
            "clean",
            "Outside text was read before it, and may have chosen the arguments (to, dial).",
        ),
        (
            replace(aged(timedelta(days=1)), tainted=True, arguments_trusted=True),
            "clean",
            "Outside text was read before it, and no injection was ever tried.",
        ),
        (
            replace(LAWFUL, cause=None),
            "warranted",
            "Whether the incident inc-1 stands couldn't be read.",
        ),
    ],
)
def test_what_alone_is_missing_is_asked_for_in_these_words(
    facts: GateFacts, condition: str, reason: str
) -> None:
    verdict = judge(facts)

    assert (verdict.outcome, verdict.reason) == ("ask", reason)
    assert [one.name for one in verdict.conditions if not one.holds] == [condition]
    told = reasons(facts)
    said = told.pop(condition)
    assert f"{said[:1].upper()}{said[1:]}." == reason
    assert (
        told.items()
        <= (HOLD | {"evidence": told.get("evidence"), "fresh": told.get("fresh")}).items()
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            warrant(kind="none"),
            "it names no cause (an open incident, a due schedule or a person's request)",
        ),
        (
            warrant(operation="healing.other"),
            "its cause calls for healing.other, not healing.restart_replica",
        ),
        (warrant(target="catalog/b"), "its cause is about catalog/b, not catalog/catalog-1"),
        (replace(LAWFUL, cause="missing"), "there is no incident inc-1"),
        (replace(LAWFUL, cause="closed"), "the incident inc-1 is closed"),
        (replace(LAWFUL, cause="elsewhere"), "the incident inc-1 is about another target"),
        (
            replace(LAWFUL, cause="elsewhere", incident_kind="disk_filling"),
            "the incident inc-1 is about another target",
        ),
        (
            replace(LAWFUL, incident_kind="disk_filling"),
            "the incident inc-1 is of kind disk_filling, which doesn't call for "
            "healing.restart_replica",
        ),
        (
            replace(LAWFUL, incident_kind=None),
            "the incident inc-1 is of kind None, which doesn't call for healing.restart_replica",
        ),
        (
            replace(LAWFUL, called_for_by=frozenset()),
            "the incident inc-1 is of kind hung, which doesn't call for healing.restart_replica",
        ),
        (
            replace(warrant(kind="schedule", id="nightly"), cause="missing"),
            "there is no schedule nightly",
        ),
        (
            replace(warrant(kind="request", id="run-1"), cause="closed"),
            "the request of a person run-1 is closed",
        ),
        (budget(open_questions=20), "20 questions wait for people already; answer those first"),
        (budget(open_questions=21), "21 questions wait for people already; answer those first"),
    ],
)
def test_what_is_forbidden_is_refused_in_these_words(facts: GateFacts, reason: str) -> None:
    verdict = judge(facts)

    assert (verdict.outcome, verdict.reason) == ("refuse", f"Refused: {reason}.")
    assert sum(not one.holds for one in verdict.conditions) == 1


@pytest.mark.parametrize(
    "facts",
    [
        budget(acted_last_hour=5),
        budget(open_questions=19),
        budget(since_last_on_target=policy.COOL_DOWN),
        aged(policy.SHELF_LIFE),
        aged(timedelta(0)),
        aged(-policy.CLOCK_SKEW),
        replace(LAWFUL, incident_kind="dead"),
        replace(warrant(kind="request"), incident_kind=None),
        replace(warrant(kind="schedule"), called_for_by=frozenset()),
        replace(LAWFUL, tainted=True, arguments_trusted=True),
        warrant(kind="schedule"),
        warrant(kind="request"),
        *(replace(LAWFUL, reversibility=one) for one in ("compensating", "nothing_to_undo")),
        *(replace(LAWFUL, risk=one) for one in ("medium", "high")),
    ],
)
def test_what_lies_just_inside_runs(facts: GateFacts) -> None:
    assert judge(facts).outcome == "run"


def test_a_clock_that_went_back_makes_no_evidence_younger_than_today() -> None:
    assert reasons(aged(-TICK))["fresh"] == "looked at 0 days ago (shelf life 30)"


def test_reasons_that_hold_are_told_as_plainly() -> None:
    trusted = replace(LAWFUL, tainted=True, arguments_trusted=True)

    assert reasons(trusted)["clean"] == (
        "injections were withstood and trusted reads gave the arguments"
    )
    assert reasons(warrant(kind="schedule", id="nightly"))["warranted"] == (
        "the schedule nightly calls for it"
    )
    assert reasons(warrant(kind="request", id="run-1"))["warranted"] == (
        "the request of a person run-1 calls for it"
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(LAWFUL, evidence=None), "the evidence couldn't be read"),
        (
            evidence(problem="line 3 was altered"),
            "the evidence couldn't be trusted: line 3 was altered",
        ),
        (evidence(evidence=None), "no evidence yet: earned in evaluation suites"),
        (evidence(evidence=weigh("low", [], {"poplar": 1.0})), policy.NO_EVIDENCE),
    ],
)
def test_without_evidence_nothing_is_fresh_or_covered_and_it_is_said_once(
    facts: GateFacts, said: str
) -> None:
    assert judge(facts).reason == f"{said[:1].upper()}{said[1:]}."
    found = {one.name: (one.holds, one.reason) for one in judge(facts).conditions}
    assert found["evidence"] == (False, said)
    assert found["fresh"] == found["covered"] == (False, "none yet")


def test_evidence_that_is_not_enough_is_not_fresh_before_its_first_look() -> None:
    few = weigh("low", TRIALS[:16], {"poplar": 1.0})

    assert judge(evidence(evidence=few)).reason == (
        "16 of 17 distinct worlds tried; it was never looked at."
    )


def test_where_no_trial_acted_nothing_is_covered() -> None:
    still = weigh("low", [replace(one, region={}) for one in TRIALS], {"poplar": 1.0})

    assert judge(evidence(evidence=still, covered=False)).reason == (
        "No passing trial has acted yet."
    )


def test_all_that_is_missing_is_told_in_order() -> None:
    facts = replace(
        LAWFUL,
        risk="critical",
        evidence=replace(EVIDENCE, withdrawn="it failed", covered=False),
        budget=BudgetFacts(
            acted_last_hour=6,
            at_work=1,
            since_last_on_target=timedelta(minutes=3),
            unhelpful_last_day=1,
            proposed_together=2,
            open_questions=19,
            freezes=("exams",),
        ),
        tainted=None,
        cause=None,
    )

    assert judge(facts).reason == (
        "A critical operation never runs alone; autonomy was withdrawn: it failed; no passing "
        "trial acted on anything of this kind and size; frozen: exams; 6 actions of this kind in "
        "the last hour (limit 6); 2 targets at once (blast radius 1); 1 at work or about to begin "
        "(limit 1); "
        "acted on this target 3 minutes ago (cool-down 10); 1 did not help within a day (error "
        "budget 1); nobody can tell whether the run had read outside text; whether the incident "
        "inc-1 stands couldn't be read."
    )
    assert judge(
        replace(facts, budget=replace(BUDGET, open_questions=20), cause="closed")
    ).reason == (
        "Refused: 20 questions wait for people already; answer those first; the incident inc-1 is "
        "closed."
    )


def test_a_warrant_is_compared_before_its_cause_is_looked_up() -> None:
    assert reasons(replace(warrant(target="b"), cause="missing"))["warranted"] == (
        "its cause is about b, not catalog/catalog-1"
    )


def stands(**changes: Any) -> tuple[str, str]:
    values: dict[str, Any] = {
        "risk": "low",
        "reversibility": "exact",
        "autonomous": True,
        "freezes": (),
        "evidence": EVIDENCE,
    }
    return level(**(values | changes))


def test_a_level_is_told_with_its_reason() -> None:
    stale = replace(EVIDENCE, now=NOW + timedelta(days=40))
    few = weigh("low", TRIALS[:16], {"poplar": 1.0})

    assert stands() == ("runs", HOLD["evidence"])
    assert stands(evidence=replace(EVIDENCE, covered=False)) == ("runs", HOLD["evidence"])
    assert stands(freezes=("exams", "launch")) == ("frozen", "frozen: exams; launch")
    assert stands(autonomous=False) == ("asks", "this operation never runs alone")
    assert stands(reversibility="irreversible")[0] == "asks"
    assert stands(risk="critical", freezes=("exams",))[0] == "frozen"
    assert stands(evidence=stale) == ("asks", "its evidence is 41 days old (shelf life 30)")
    assert stands(evidence=replace(EVIDENCE, withdrawn="it failed")) == (
        "withdrawn",
        "autonomy was withdrawn: it failed",
    )
    assert stands(evidence=replace(EVIDENCE, evidence=few, withdrawn="it failed")) == (
        "asks",
        "16 of 17 distinct worlds tried",
    )


def test_an_operation_that_may_run_alone_has_no_reason_not_to() -> None:
    assert never_alone("high", "exact", autonomous=True) == ""

"""The gate as a function: only all seven conditions let an action run."""

from dataclasses import MISSING, FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact, weigh
from tools.autonomy.gate import (
    BudgetFacts,
    EvidenceFacts,
    GateFacts,
    Since,
    judge,
    lapsed,
    level,
    together,
)
from tools.kit.operation import Warrant

WARRANT = Warrant(
    kind="incident", id="inc-1", operation="healing.restart_replica", target="catalog/catalog-1"
)
BUDGET = BudgetFacts(
    acted_last_hour=0,
    at_work=0,
    since_last_on_target=None,
    unhelpful_last_day=0,
    proposed_together=1,
    open_questions=0,
    freezes=(),
)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TRIALS = [
    TrialFact(
        case="poplar" if seed % 2 else "willow",
        seed=seed,
        passed=True,
        harmful=False,
        injection=seed % 2 == 0,
        region={"kind": "replica", "replicas": 2},
        at=NOW - timedelta(days=1),
    )
    for seed in range(17)
]
FLOORS = {"poplar": 1.0, "willow": 1.0}
EVIDENCE = EvidenceFacts(
    fingerprint="f" * 64,
    evidence=weigh("low", TRIALS, FLOORS, ["willow"]),
    covered=True,
    now=NOW,
)
LAWFUL = GateFacts(
    operation="healing.restart_replica",
    target="catalog/catalog-1",
    risk="low",
    reversibility="nothing_to_undo",
    autonomous=True,
    warrant=WARRANT,
    cause="open",
    evidence=EVIDENCE,
    budget=BUDGET,
    tainted=False,
    called_for_by=frozenset({"dead", "hung"}),
    incident_kind="hung",
)


def budget(**changes: Any) -> GateFacts:
    return replace(LAWFUL, budget=replace(BUDGET, **changes))


def evidence(**changes: Any) -> GateFacts:
    return replace(LAWFUL, evidence=replace(EVIDENCE, **changes))


def proved(**changes: Any) -> GateFacts:
    """The lawful action with trials changed all alike."""
    trials = [replace(trial, **changes) for trial in TRIALS]
    return evidence(evidence=weigh("low", trials, FLOORS, ["willow"]))


def warrant(**changes: Any) -> GateFacts:
    return replace(LAWFUL, warrant=WARRANT.model_copy(update=changes))


def test_all_seven_conditions_run() -> None:
    verdict = judge(LAWFUL)

    assert verdict.outcome == "run"
    assert [c.name for c in verdict.conditions if c.holds] == [
        "allowed",
        "evidence",
        "fresh",
        "covered",
        "budget",
        "clean",
        "warranted",
    ]


@pytest.mark.parametrize(
    ("facts", "condition", "said"),
    [
        (replace(LAWFUL, risk="critical"), "allowed", "critical operation never runs alone"),
        (replace(LAWFUL, reversibility="irreversible"), "allowed", "irreversible operation never"),
        (replace(LAWFUL, autonomous=False), "allowed", "never runs alone"),
        (evidence(evidence=None), "evidence", policy.NO_EVIDENCE),
        (evidence(problem="line 3 was altered"), "evidence", "line 3 was altered"),
        (proved(passed=False), "evidence", "its case poplar passed 0 of 8, its floor is 100%"),
        (proved(harmful=True), "evidence", "17 of its trials did harm"),
        (proved(seed=1), "evidence", "2 of 17 distinct worlds tried"),
        (proved(at=NOW - timedelta(days=31)), "fresh", "31 days old (shelf life 30)"),
        (evidence(withdrawn="it did not help"), "fresh", "withdrawn: it did not help"),
        (evidence(now=None), "fresh", "it was never looked at"),
        (evidence(covered=False), "covered", "no passing trial acted on anything of this kind"),
        (replace(LAWFUL, evidence=None), "evidence", "couldn't be read"),
        (budget(freezes=("launch week",)), "budget", "frozen: launch week"),
        (budget(acted_last_hour=6), "budget", "6 actions of this kind in the last hour (limit 6)"),
        (budget(proposed_together=2), "budget", "2 targets at once (blast radius 1)"),
        (budget(at_work=1), "budget", "1 at work or about to begin (limit 1)"),
        (budget(since_last_on_target=timedelta(minutes=9)), "budget", "9 minutes ago"),
        (budget(since_last_on_target=timedelta(seconds=-5)), "budget", "0 minutes ago"),
        (budget(unhelpful_last_day=1), "budget", "1 did not help within a day"),
        (replace(LAWFUL, budget=None), "budget", "couldn't be read"),
        (replace(LAWFUL, tainted=None), "clean", "nobody can tell"),
        (replace(LAWFUL, tainted=True), "clean", "may have chosen the arguments."),
        (
            replace(LAWFUL, tainted=True, doubtful=("service", "replica")),
            "clean",
            "may have chosen the arguments (service, replica).",
        ),
        (
            replace(evidence(evidence=weigh("low", TRIALS, FLOORS)), tainted=True),
            "clean",
            "no injection was ever tried",
        ),
        (replace(LAWFUL, cause=None), "warranted", "couldn't be read"),
    ],
)
def test_one_missing_condition_asks(facts: GateFacts, condition: str, said: str) -> None:
    verdict = judge(facts)

    assert verdict.outcome == "ask"
    assert said.lower() in verdict.reason.lower()
    assert condition in [c.name for c in verdict.conditions if not c.holds]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (warrant(kind="none"), "names no cause"),
        (warrant(operation="healing.archive_old_data"), "calls for healing.archive_old_data, not"),
        (warrant(target="catalog/catalog-2"), "about catalog/catalog-2, not catalog/catalog-1"),
        (replace(LAWFUL, cause="missing"), "there is no incident inc-1"),
        (replace(LAWFUL, cause="closed"), "incident inc-1 is closed"),
        (replace(LAWFUL, cause="elsewhere"), "is about another target"),
        (budget(open_questions=20), "20 questions wait for people already"),
    ],
)
def test_what_policy_forbids_is_refused(facts: GateFacts, said: str) -> None:
    verdict = judge(facts)

    assert verdict.outcome == "refuse"
    assert said in verdict.reason


def test_a_tainted_run_is_clean_where_injections_were_tried_and_arguments_are_trusted() -> None:
    assert judge(replace(LAWFUL, tainted=True, arguments_trusted=True)).outcome == "run"


def test_the_cool_down_ends_on_time() -> None:
    assert judge(budget(since_last_on_target=policy.COOL_DOWN)).outcome == "run"


def test_the_strictest_verdict_decides_for_all() -> None:
    run, ask, refuse = (
        judge(LAWFUL),
        judge(evidence(evidence=None)),
        judge(warrant(kind="none")),
    )

    assert together([run, run]) == run
    assert together([run, ask]) == ask
    assert together([ask, refuse, run]) == refuse


def test_an_operation_stands_where_its_freeze_risk_and_evidence_put_it() -> None:
    def stands(**changes: Any) -> tuple[str, str]:
        values: dict[str, Any] = {
            "risk": "low",
            "reversibility": "exact",
            "autonomous": True,
            "freezes": (),
            "evidence": EvidenceFacts(),
        }
        return level(**(values | changes))

    assert stands() == ("asks", policy.NO_EVIDENCE)
    assert stands(evidence=EVIDENCE)[0] == "runs"
    assert stands(evidence=replace(EVIDENCE, withdrawn="it failed"))[0] == "withdrawn"
    assert stands(evidence=replace(EVIDENCE, problem="a foreign key"))[0] == "asks"
    assert stands(freezes=("launch",)) == ("frozen", "frozen: launch")
    assert stands(risk="critical")[1] == "a critical operation never runs alone"


def test_the_sentence_about_the_limits_carries_their_numbers() -> None:
    """People and models read the sentence, code the numbers: they may not drift apart."""
    said = policy.sentence()

    for part in (
        f"{policy.ACTIONS_PER_HOUR} actions of one kind an hour",
        f"{policy.BLAST_RADIUS} target at once",
        f"{policy.CONCURRENT_ACTIONS} action at work",
        f"{policy.minutes(policy.COOL_DOWN)} minutes of the last action",
        f"{policy.FAILURES_PER_DAY} action within a day that did not help",
        *(f"{risk} risk a success rate above {rate:.0%}" for risk, rate in policy.TARGETS.items()),
        *(f"({worlds} worlds at least)" for worlds in policy.FIRST_LOOK.values()),
        f"with {1 - policy.ERROR:.0%} confidence",
        f"within {policy.SHELF_LIFE.days} days",
    ):
        assert part in said


any_facts = st.builds(
    GateFacts,
    operation=st.sampled_from(["a", "b"]),
    target=st.sampled_from(["x", "y"]),
    risk=st.sampled_from(["low", "medium", "high", "critical"]),
    reversibility=st.sampled_from(["exact", "compensating", "nothing_to_undo", "irreversible"]),
    autonomous=st.booleans(),
    warrant=st.builds(
        Warrant,
        kind=st.sampled_from(["incident", "schedule", "request", "none"]),
        id=st.just("i"),
        operation=st.sampled_from(["a", "b"]),
        target=st.sampled_from(["x", "y"]),
        text=st.just(""),
    ),
    cause=st.sampled_from(["open", "closed", "missing", "elsewhere", None]),
    evidence=st.none()
    | st.builds(
        EvidenceFacts,
        evidence=st.none()
        | st.integers(0, 17).map(lambda n: weigh("low", TRIALS[:n], FLOORS, ["willow"])),
        covered=st.booleans(),
        withdrawn=st.sampled_from(["", "it failed"]),
        problem=st.sampled_from(["", "altered"]),
        now=st.sampled_from([None, NOW, NOW + timedelta(days=40)]),
    ),
    budget=st.none()
    | st.builds(
        BudgetFacts,
        acted_last_hour=st.integers(0, 8),
        at_work=st.integers(0, 2),
        since_last_on_target=st.none() | st.timedeltas(timedelta(0), timedelta(hours=1)),
        unhelpful_last_day=st.integers(0, 2),
        proposed_together=st.integers(1, 3),
        open_questions=st.integers(0, 25),
        freezes=st.sampled_from([(), ("freeze",)]),
    ),
    tainted=st.sampled_from([True, False, None]),
    arguments_trusted=st.booleans(),
    called_for_by=st.sampled_from([frozenset(), frozenset({"hung"})]),
    incident_kind=st.sampled_from(["hung", "disk_filling", None]),
)


@given(any_facts)
def test_whatever_the_facts_nothing_runs_that_may_not(facts: GateFacts) -> None:
    verdict = judge(facts)

    assert verdict.reason.endswith(".")
    assert len(verdict.conditions) == 7
    if verdict.outcome == "run":
        assert facts.risk != "critical"
        assert facts.reversibility != "irreversible"
        assert facts.warrant.operation == facts.operation
        assert facts.warrant.target == facts.target
        assert facts.cause == "open"
        assert facts.warrant.kind != "incident" or facts.incident_kind in facts.called_for_by
        assert facts.evidence is not None
        assert facts.evidence.evidence is not None
        assert facts.evidence.evidence.sufficient
        assert facts.evidence.covered
        assert not facts.evidence.withdrawn
        assert not facts.evidence.problem
        assert facts.evidence.now == NOW
        assert facts.budget is not None
        assert facts.budget.freezes == ()
        assert facts.tainted is not None
    else:
        assert not all(condition.holds for condition in verdict.conditions)


def test_of_several_verdicts_the_first_of_the_strictest_is_told() -> None:
    run, ask, other = judge(LAWFUL), judge(budget(at_work=1)), judge(budget(at_work=2))
    refuse = judge(warrant(kind="none"))

    assert together([run, ask, other]) is ask
    assert together([run, other, ask]) is other
    assert together([ask, run, refuse]) is refuse
    assert together([run, judge(LAWFUL)]) is run


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (BUDGET, "at_work"),
        (EVIDENCE, "covered"),
        (LAWFUL, "tainted"),
        (EVIDENCE.evidence, "sufficient"),
        (Since(at_work=0, withdrawn=None, freezes=(), incident_open=True), "at_work"),
    ],
)
def test_facts_cannot_be_changed_once_read(value: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, True)


def test_facts_that_nobody_gave_count_against_the_action() -> None:
    bare = EvidenceFacts()

    assert (bare.fingerprint, bare.evidence, bare.covered, bare.now) == (None, None, False, None)
    assert LAWFUL.arguments_trusted is False
    bare_facts = GateFacts(
        **{f.name: getattr(LAWFUL, f.name) for f in fields(GateFacts) if f.default is MISSING}
    )
    assert (bare_facts.called_for_by, bare_facts.incident_kind) == (frozenset(), None)


SAME = Since(at_work=0, withdrawn=None, freezes=(), incident_open=True)


@pytest.mark.parametrize(
    ("since", "why"),
    [
        (SAME, ""),
        (replace(SAME, incident_open=None), ""),
        (replace(SAME, incident_open=False), "Its incident is open no more."),
        (replace(SAME, withdrawn="it failed"), "Autonomy was withdrawn since: it failed."),
        (replace(SAME, withdrawn=""), "Autonomy was withdrawn since: ."),
        (replace(SAME, freezes=("exams",)), "Frozen since: exams."),
        (replace(SAME, freezes=("exams", "launch")), "Frozen since: exams; frozen since: launch."),
        (replace(SAME, at_work=1), "1 at work by now (limit 1)."),
        (replace(SAME, at_work=2), "2 at work by now (limit 1)."),
        (
            Since(at_work=1, withdrawn="it failed", freezes=("exams",), incident_open=False),
            "Frozen since: exams; autonomy was withdrawn since: it failed; its incident is open no "
            "more; 1 at work by now (limit 1).",
        ),
    ],
)
def test_the_gates_yes_lapses_in_these_words(since: Since, why: str) -> None:
    assert lapsed(since) == why

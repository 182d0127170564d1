"""The control of the mutation test: a suite that executes the lines and looks at nothing.

It is what a coverage report alone asks for: every module imported, every function called with
something lawful and something not, and no answer compared with anything.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memory.audit_heads import new_key_pair
from memory.tables.autonomy import Action, Approval, Permit
from tools.autonomy import policy, questions, records, standing_rules, states
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
from tools.autonomy.standing_schemas import Basis, Covered, Effect, LastKnown, StandingPermit
from tools.autonomy.standing_seal import Seal, place_of
from tools.healing.policy import HealingPolicy
from tools.healing.restart_replica import RestartReplica
from tools.kit.deps import Caller
from tools.kit.operation import Plan, Warrant

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OPERATION, TARGET = "healing.restart_replica", "catalog/catalog-1"
WARRANT = Warrant(kind="incident", id="inc-1", operation=OPERATION, target=TARGET)
REGION = {"kind": "replica", "replicas": 2}


def trials(count: int, **changes: Any) -> list[TrialFact]:
    """As many distinct worlds of one case."""
    one = TrialFact("poplar", 0, passed=True, harmful=False, injection=False, region=REGION, at=NOW)
    return [replace(one, seed=seed, **changes) for seed in range(count)]


def test_the_gate_judges() -> None:
    """A lawful action, and one of each kind that is asked or refused."""
    evidence = EvidenceFacts("f", weigh("low", trials(17), {"poplar": 1.0}), covered=True, now=NOW)
    budget = BudgetFacts(0, 0, None, 0, 1, 0, ())
    lawful = GateFacts(
        OPERATION,
        TARGET,
        "low",
        "nothing_to_undo",
        autonomous=True,
        warrant=WARRANT,
        cause="open",
        evidence=evidence,
        budget=budget,
        tainted=False,
        called_for_by=RestartReplica.called_for_by,
        incident_kind="hung",
    )
    spent = BudgetFacts(9, 9, timedelta(0), 9, 9, 0, ("exams",))
    none = WARRANT.model_copy(update={"kind": "none"})
    together(
        [
            judge(lawful),
            judge(replace(lawful, risk="critical")),
            judge(replace(lawful, reversibility="irreversible")),
            judge(replace(lawful, autonomous=False)),
            judge(replace(lawful, evidence=None, budget=None, tainted=None, cause=None)),
            judge(replace(lawful, evidence=EvidenceFacts(), budget=spent, tainted=True)),
            judge(replace(lawful, evidence=replace(evidence, withdrawn="failed"))),
            judge(replace(lawful, evidence=replace(evidence, now=None))),
            judge(replace(lawful, evidence=replace(evidence, now=NOW + timedelta(days=99)))),
            judge(replace(lawful, evidence=replace(evidence, covered=False))),
            judge(replace(lawful, tainted=True, arguments_trusted=True)),
            judge(replace(lawful, budget=replace(budget, open_questions=99))),
            judge(replace(lawful, warrant=none)),
            judge(replace(lawful, operation="other")),
            judge(replace(lawful, target="other")),
            judge(replace(lawful, incident_kind="disk_filling")),
            *(judge(replace(lawful, cause=one)) for one in ("closed", "missing", "elsewhere")),
        ]
    )
    together([judge(lawful)])
    for freezes in ((), ("exams",)):
        for facts in (evidence, EvidenceFacts()):
            level(
                risk="low",
                reversibility="exact",
                autonomous=True,
                freezes=freezes,
                evidence=facts,
            )
    lapsed(Since(at_work=0, withdrawn=None, freezes=(), incident_open=None))
    lapsed(Since(at_work=1, withdrawn="failed", freezes=("exams",), incident_open=False))
    policy.sentence()


def test_evidence_is_weighed() -> None:
    """Enough, too little, harmful, failed, of no case, of no risk, in several regions."""
    wide = [*trials(17), *trials(20, region={**REGION, "replicas": 3})[17:], *trials(1, region={})]
    weigh("low", wide, {"poplar": 1.0}, ["poplar"]).covers(REGION)
    weigh("low", trials(17, harmful=True), {"poplar": 1.0})
    weigh("low", trials(17, passed=False), {"poplar": 0.0})
    weigh("low", [*trials(40), *trials(90, passed=False)[40:]], {"poplar": 0.0})
    weigh("low", trials(17, passed=False), {"poplar": 1.0})
    weigh("low", trials(17), {"willow": 1.0})
    weigh("low", trials(17), {})
    weigh("low", trials(3), {"poplar": 1.0})
    weigh("critical", trials(3), {"poplar": 1.0})


def test_permits_and_questions_are_looked_at() -> None:
    """One that is good, and one of each kind that isn't."""
    action = Action(
        id="act-1",
        operation=OPERATION,
        target=TARGET,
        arguments={},
        plan={"state": {}, "summary": "Restart catalog-1"},
        tenant_id="ten-1",
        risk="high",
        person_id="per-1",
        executor="healer",
    )
    action.digest = records.digest_of_row(action)
    good = {"tenant_id": "ten-1", "digest": action.digest, "expires_at": NOW + timedelta(hours=1)}
    for bad in ({}, {"consumed_at": NOW}, {"expires_at": NOW}, {"tenant_id": ""}, {"digest": ""}):
        with suppress(Exception):
            records.require_permit(Permit(**good | bad), action, "apply", NOW)
    with suppress(Exception):
        records.require_permit(None, action, "apply", NOW)
    caller = Caller("ten-1", "dynasty", "per-1", "Ada", frozenset({"staff"}), fleet=True)
    asked = questions.undo_question(
        caller,
        action,
        at=NOW,
        config=policy.AutonomyConfig(Path("locks")),
        thread_id=None,
        run_id=None,
    )
    questions.require_person(caller)
    questions.require_answerable(asked, NOW)
    questions.require_shown(asked, [action], asked.digest)
    with suppress(Exception):
        questions.require_second_person(caller, [action])
    with suppress(Exception):
        questions.require_person(replace(caller, person_id=None))
    with suppress(Exception):
        questions.require_answerable(Approval(state="denied"), NOW)
    with suppress(Exception):
        questions.require_answerable(asked, NOW + timedelta(days=1))
    with suppress(Exception):
        questions.require_shown(asked, [action], "")
    with suppress(Exception):
        questions.require_shown(asked, [], asked.digest)
    action.target = "other"
    with suppress(Exception):
        questions.require_shown(asked, [action], asked.digest)
    with suppress(Exception):
        states.require_arrow("act-1", "planned", "undone")


def test_standing_permits_are_looked_at(tmp_path: Path) -> None:
    """One that is good, and one of each kind that isn't."""
    restart = RestartReplica(HealingPolicy())
    standing_rules.never(restart)
    for name, value in (("name", "other"), ("risk", "high"), ("autonomous", False)):
        changed = type("Changed", (RestartReplica,), {name: value})
        standing_rules.never(changed(HealingPolicy()))
    basis = Basis(kind="approval", id="sta-1", granted_by="per-1", text="approved")
    permit = StandingPermit(
        id="per-1",
        operation=OPERATION,
        target=TARGET,
        tenant_id="ten-1",
        covered=[Covered(labels={"kind": "replica"})],
        fingerprint="",
        basis=basis,
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=1),
    )
    known = LastKnown(at=NOW, permits=["per-1"], effects=[], unhelpful=[], at_work=0, held={})
    plan = Plan(target=TARGET, summary="Restart", diff=[], state={}, region=REGION)
    earned = basis.model_copy(update={"kind": "evidence"})
    for given, last, used, fingerprint, at in (
        (permit, known, (), "", NOW),
        (permit, known, ("per-1",), "", NOW),
        (permit, known.model_copy(update={"permits": []}), (), "", NOW),
        (permit.model_copy(update={"target": "other"}), known, (), "", NOW),
        (permit, known, (), "", NOW - timedelta(days=1)),
        (permit, known, (), "", NOW + timedelta(days=1)),
        (permit.model_copy(update={"expires_at": NOW + timedelta(days=1)}), known, (), "", NOW),
        (permit.model_copy(update={"basis": earned}), known, (), "", NOW),
        (permit.model_copy(update={"basis": earned, "fingerprint": "f"}), known, (), "f", NOW),
        (permit.model_copy(update={"covered": []}), known, (), "", NOW),
    ):
        standing_rules.unfit(given, plan, known=last, used=used, fingerprint=fingerprint, now=at)
    standing_rules.unwarranted(WARRANT, OPERATION, TARGET)
    standing_rules.unwarranted(WARRANT, "other", TARGET)
    standing_rules.unwarranted(WARRANT.model_copy(update={"kind": "none"}), OPERATION, TARGET)
    elsewhere = [Effect(operation=OPERATION, target="other", at=NOW)]
    here = [Effect(operation=OPERATION, target=TARGET, at=NOW)]
    for change, effects, unhelpful, under_way in (
        ({}, [], [], {}),
        ({"held": {TARGET: "asked"}}, [], [], {}),
        ({}, [], [], {TARGET: "applied"}),
        ({"at_work": 1}, [], [], {}),
        ({}, elsewhere * 9, [], {}),
        ({}, here, [], {}),
        ({}, [], here, {}),
    ):
        standing_rules.over_budget(
            OPERATION,
            TARGET,
            known=known.model_copy(update=change),
            effects=effects,
            unhelpful=unhelpful,
            under_way=under_way,
            now=NOW,
        )
    (tmp_path / "keys").mkdir()
    seal = Seal(new_key_pair()[0], place_of(tmp_path))
    sealed = seal.close({"a": 1})
    seal.open(sealed)
    for other in (None, {**sealed, "key": ""}, {**sealed, "a": 2}, {**sealed, "place": ""}):
        with suppress(Exception):
            seal.open(other)
    with suppress(Exception):
        Seal(b"", "")

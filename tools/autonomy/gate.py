"""The gate: facts in, verdict out. No query, no clock, no model.

All seven conditions must hold for `run`. A fact that could not be read is None, and None never
holds: it asks. Only an action without a matching cause, or beyond what people can be asked, is
refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from tools.autonomy import policy
from tools.autonomy.evidence import Evidence
from tools.autonomy.schemas import Condition, Outcome, Verdict
from tools.kit.operation import Reversibility, Risk, Warrant

CauseState = Literal["open", "closed", "missing", "elsewhere"]
Level = Literal["asks", "runs", "frozen", "withdrawn"]

UNREAD = "the evidence couldn't be read"
NONE_YET = "none yet"


@dataclass(frozen=True)
class BudgetFacts:
    """What has happened lately in the database of the action."""

    acted_last_hour: int
    """Effects of this operation, and those that are permitted already."""
    at_work: int
    """Actions begun and not ended, or permitted and about to begin."""
    since_last_on_target: timedelta | None
    """None when nothing was ever done to it."""
    unhelpful_last_day: int
    """Ended without having helped, this operation."""
    proposed_together: int
    """Targets in this proposal."""
    open_questions: int
    """Approvals that wait for a person."""
    freezes: tuple[str, ...]
    """Reasons of the freezes that hold for this operation."""


@dataclass(frozen=True)
class EvidenceFacts:
    """What the stored trials say of an operation under its fingerprint, and of one action."""

    fingerprint: str | None = None
    """None where what the evidence would be about couldn't be told."""
    evidence: Evidence | None = None
    """None where there is none, or where it doesn't verify."""
    covered: bool = False
    """The action lies in a region of the passing trials."""
    withdrawn: str = ""
    """Why autonomy was taken back under this fingerprint; empty where it wasn't."""
    problem: str = ""
    """Why what is stored proves nothing, such as an altered line."""
    now: datetime | None = None
    """The moment it is judged by."""


@dataclass(frozen=True)
class GateFacts:
    """Everything the gate looks at for one action."""

    operation: str
    target: str
    risk: Risk
    reversibility: Reversibility
    autonomous: bool
    warrant: Warrant
    cause: CauseState | None
    """Where the warrant's cause stands; None when that couldn't be read."""
    evidence: EvidenceFacts | None
    """None when it couldn't be read."""
    budget: BudgetFacts | None
    """None when it couldn't be read."""
    tainted: bool | None
    """Whether the run had read outside content; None when nobody can tell."""
    arguments_trusted: bool = False
    """Whether outside text can't have made up an argument; False where nobody can tell."""
    doubtful: tuple[str, ...] = ()
    """Names of the arguments it may have made up, as far as they are known."""
    called_for_by: frozenset[str] = frozenset()
    """Kinds of incident that the operation answers."""
    incident_kind: str | None = None
    """What the incident it names is; None where it names none, or that couldn't be read."""


@dataclass(frozen=True)
class Since:
    """What may have changed between the gate's yes and the moment its action is to begin."""

    at_work: int
    """Other actions begun and not ended."""
    withdrawn: str | None
    """Why autonomy was taken back under the action's fingerprint; None where it wasn't."""
    freezes: tuple[str, ...]
    """Reasons of the freezes that hold for its operation."""
    incident_open: bool | None
    """Whether the incident it names is open; None where it names none."""


class _Finding(NamedTuple):
    condition: Condition
    refuses: bool = False


def judge(facts: GateFacts) -> Verdict:
    """The verdict on one action, with each condition's reason."""
    findings = [
        _allowed(facts),
        *_evidence(facts.evidence),
        _budget(facts.budget),
        _clean(facts),
        _warranted(facts),
    ]
    refused = [f.condition.reason for f in findings if f.refuses]
    missing = [f.condition for f in findings if not f.condition.holds]
    outcome: Outcome
    if refused:
        outcome, reason = "refuse", f"Refused: {'; '.join(refused)}."
    elif missing:
        outcome, reason = "ask", _reasons(missing)
    else:
        outcome, reason = "run", "All seven conditions hold."
    return Verdict(outcome=outcome, reason=reason, conditions=[f.condition for f in findings])


def lapsed(since: Since) -> str:
    """Why the gate's yes to an action holds no more, as a sentence; empty where it holds."""
    why = [f"frozen since: {reason}" for reason in since.freezes]
    if since.withdrawn is not None:
        why.append(f"autonomy was withdrawn since: {since.withdrawn}")
    if since.incident_open is False:
        why.append("its incident is open no more")
    if since.at_work >= policy.CONCURRENT_ACTIONS:
        why.append(f"{since.at_work} at work by now (limit {policy.CONCURRENT_ACTIONS})")
    return _sentence(why)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on actions proposed as one: the strictest of them decides for all."""
    for outcome in ("refuse", "ask"):
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return verdict
    return verdicts[0]


def level(
    *,
    risk: Risk,
    reversibility: Reversibility,
    autonomous: bool,
    freezes: Sequence[str],
    evidence: EvidenceFacts,
) -> tuple[Level, str]:
    """Where an operation stands before any particular action: its level and why."""
    if freezes:
        return "frozen", f"frozen: {'; '.join(freezes)}"
    if never := never_alone(risk, reversibility, autonomous=autonomous):
        return "asks", never
    for found in _evidence(evidence)[:2]:
        if not found.condition.holds:
            withdrawn = bool(evidence.withdrawn) and found.condition.name == "fresh"
            return "withdrawn" if withdrawn else "asks", found.condition.reason
    assert evidence.evidence is not None
    return "runs", evidence.evidence.reason


def never_alone(risk: Risk, reversibility: Reversibility, *, autonomous: bool) -> str:
    """Why an operation never runs alone, whatever the evidence; empty where it may."""
    if risk == "critical":
        return "a critical operation never runs alone"
    if reversibility == "irreversible":
        return "an irreversible operation never runs alone"
    if not autonomous:
        return "this operation never runs alone"
    return ""


def _allowed(facts: GateFacts) -> _Finding:
    never = never_alone(facts.risk, facts.reversibility, autonomous=facts.autonomous)
    return _Finding(
        Condition(name="allowed", holds=not never, reason=never or "the operation permits autonomy")
    )


def _evidence(facts: EvidenceFacts | None) -> list[_Finding]:
    """Evidence, fresh and covered: none of them can hold without trials."""
    answers: dict[Literal["evidence", "fresh", "covered"], tuple[bool, str]]
    none: tuple[bool, str] = (False, NONE_YET)
    if facts is None:
        answers = {"evidence": (False, UNREAD), "fresh": none, "covered": none}
    elif facts.problem:
        distrust = f"the evidence couldn't be trusted: {facts.problem}"
        answers = {"evidence": (False, distrust), "fresh": none, "covered": none}
    elif facts.evidence is None or facts.evidence.trials == 0:
        answers = {"evidence": (False, policy.NO_EVIDENCE), "fresh": none, "covered": none}
    else:
        evidence = facts.evidence
        covered = "trials that passed acted in the like" if facts.covered else _outside(evidence)
        answers = {
            "evidence": (evidence.sufficient, evidence.reason),
            "fresh": _fresh(facts, evidence),
            "covered": (facts.covered, covered),
        }
    return [
        _Finding(Condition(name=name, holds=holds, reason=reason))
        for name, (holds, reason) in answers.items()
    ]


def _fresh(facts: EvidenceFacts, evidence: Evidence) -> tuple[bool, str]:
    if facts.withdrawn:
        return False, f"autonomy was withdrawn: {facts.withdrawn}"
    if evidence.looked_at is None or facts.now is None:
        return False, "it was never looked at"
    age = facts.now - evidence.looked_at
    if age < -policy.CLOCK_SKEW:
        return False, "its evidence is dated ahead of this clock"
    if age > policy.SHELF_LIFE:
        return False, f"its evidence is {age.days} days old (shelf life {policy.SHELF_LIFE.days})"
    since = policy.count(max(age.days, 0), "day")
    return True, f"looked at {since} ago (shelf life {policy.SHELF_LIFE.days})"


def _outside(evidence: Evidence) -> str:
    if not evidence.regions:
        return "no passing trial has acted yet"
    return "no passing trial acted on anything of this kind and size"


def _budget(budget: BudgetFacts | None) -> _Finding:
    if budget is None:
        return _Finding(Condition(name="budget", holds=False, reason="the budget couldn't be read"))
    if budget.open_questions >= policy.MOST_QUESTIONS:
        reason = f"{budget.open_questions} questions wait for people already; answer those first"
        return _Finding(Condition(name="budget", holds=False, reason=reason), refuses=True)
    over = [f"frozen: {reason}" for reason in budget.freezes]
    if budget.acted_last_hour >= policy.ACTIONS_PER_HOUR:
        over.append(
            f"{budget.acted_last_hour} actions of this kind in the last hour "
            f"(limit {policy.ACTIONS_PER_HOUR})"
        )
    if budget.proposed_together > policy.BLAST_RADIUS:
        over.append(
            f"{budget.proposed_together} targets at once (blast radius {policy.BLAST_RADIUS})"
        )
    if budget.at_work >= policy.CONCURRENT_ACTIONS:
        over.append(
            f"{budget.at_work} at work or about to begin (limit {policy.CONCURRENT_ACTIONS})"
        )
    since = budget.since_last_on_target
    if since is not None and since < policy.COOL_DOWN:
        over.append(
            f"acted on this target {policy.minutes(max(since, timedelta(0)))} minutes ago "
            f"(cool-down {policy.minutes(policy.COOL_DOWN)})"
        )
    if budget.unhelpful_last_day >= policy.FAILURES_PER_DAY:
        over.append(
            f"{budget.unhelpful_last_day} did not help within a day "
            f"(error budget {policy.FAILURES_PER_DAY})"
        )
    reason = "; ".join(over) or "within the limits"
    return _Finding(Condition(name="budget", holds=not over, reason=reason))


def _clean(facts: GateFacts) -> _Finding:
    if facts.tainted is None:
        holds, reason = False, "nobody can tell whether the run had read outside text"
    elif not facts.tainted:
        holds, reason = True, "nothing from outside was read before it"
    elif not _withstood(facts.evidence):
        holds, reason = False, "outside text was read before it, and no injection was ever tried"
    elif not facts.arguments_trusted:
        named = f" ({', '.join(facts.doubtful)})" if facts.doubtful else ""
        reason = f"outside text was read before it, and may have chosen the arguments{named}"
        holds = False
    else:
        holds, reason = True, "injections were withstood and trusted reads gave the arguments"
    return _Finding(Condition(name="clean", holds=holds, reason=reason))


def _withstood(facts: EvidenceFacts | None) -> bool:
    return facts is not None and facts.evidence is not None and facts.evidence.injection


def _warranted(facts: GateFacts) -> _Finding:
    warrant = facts.warrant

    def answer(reason: str, *, holds: bool = False, refuses: bool = True) -> _Finding:
        condition = Condition(name="warranted", holds=holds, reason=reason)
        return _Finding(condition, refuses=refuses)

    if warrant.kind == "none":
        return answer("it names no cause (an open incident, a due schedule or a person's request)")
    if warrant.operation != facts.operation:
        return answer(f"its cause calls for {warrant.operation}, not {facts.operation}")
    if warrant.target != facts.target:
        return answer(f"its cause is about {warrant.target}, not {facts.target}")
    named = {"incident": "incident", "schedule": "schedule", "request": "request of a person"}
    cause = f"the {named[warrant.kind]} {warrant.id}"
    if facts.cause is None:
        return answer(f"whether {cause} stands couldn't be read", refuses=False)
    if facts.cause == "missing":
        return answer(f"there is no {named[warrant.kind]} {warrant.id}")
    if facts.cause == "closed":
        return answer(f"{cause} is closed")
    if facts.cause == "elsewhere":
        return answer(f"{cause} is about another target")
    if warrant.kind == "incident" and facts.incident_kind not in facts.called_for_by:
        kind = facts.incident_kind
        return answer(f"{cause} is of kind {kind}, which doesn't call for {facts.operation}")
    return answer(f"{cause} calls for it", holds=True, refuses=False)


def _reasons(missing: Sequence[Condition]) -> str:
    """The missing conditions' reasons; without evidence, fresh and covered say nothing new."""
    return _sentence(
        dict.fromkeys(condition.reason for condition in missing if condition.reason != NONE_YET)
    )


def _sentence(reasons: Iterable[str]) -> str:
    """Reasons as one sentence; empty where there are none."""
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}." if text else ""

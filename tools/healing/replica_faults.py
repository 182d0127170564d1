"""How one replica is by itself: dead, hung, starting, slow or well. Pure."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any

from tools.healing.findings import Assessment, Finding, Identity, identity
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Look, Round
from tools.healing.schemas import FaultKind, ReplicaStatus
from tools.kit.infrastructure import ProcessFacts, ReplicaSpec, ServiceSpec


def judge_replica(
    rounds: Sequence[Round],
    service: ServiceSpec,
    replica: ReplicaSpec,
    policy: HealingPolicy,
    began: datetime,
    seen_running: frozenset[str],
    answered: frozenset[str],
) -> tuple[Assessment, Finding | None]:
    """How *replica* is in the newest round, and the fault it has by itself, if any.

    *answered* are the replicas whose process of now has answered at some time since its start.
    """
    now = rounds[-1]
    looks = [(r.at, r.looks[replica.name]) for r in rounds if replica.name in r.looks]
    look = looks[-1][1]
    facts = look.facts

    def says(status: ReplicaStatus, note: str) -> Assessment:
        return Assessment(service.name, replica.name, status, note, identity(facts))

    def finds(kind: FaultKind, since: datetime, **figures: Any) -> Finding:
        return Finding(
            kind, service.name, replica.name, f"{service.name}/{replica.name}", since, figures
        )

    new_here = (now.at - began).total_seconds() < policy.first_look_grace
    if facts is None or facts.status == "unknown":
        why = look.facts_problem or "the supervisor does not know its state"
        if look.probe is not None and look.probe.ok:
            return says("healthy", f"answers; its process could not be looked at: {why}"), None
        return says("unknown", f"could not be looked at: {why}"), None
    if facts.status in ("stopped", "fatal", "backoff"):
        status = facts.status
        since = _since(looks, lambda x: x.facts is not None and x.facts.status == status)
        down_since = _since(
            looks,
            lambda x: x.facts is not None and x.facts.status in ("stopped", "fatal", "backoff"),
        )
        down = (now.at - down_since).total_seconds()
        note = (
            facts.exit_note
            or {
                "fatal": "the supervisor gave up on it",
                "backoff": "it ends soon after each start",
                "stopped": "it does not run",
            }[status]
        )
        figures = {"status": status, "exit_note": facts.exit_note, "down_seconds": round(down, 1)}
        if status == "fatal":
            return says("dead", note), finds("dead", since, **figures)
        patience = policy.backoff_after if status == "backoff" else policy.dead_after
        if down >= patience and (replica.name in seen_running or not new_here):
            return says("dead", note), finds("dead", down_since, **figures)
        return says("starting" if status == "backoff" else "stopped", note), None
    if facts.status == "starting":
        return says("starting", "it is starting"), None
    grace = policy.academy_grace if service.kind == "academy" else policy.startup_grace
    return _running(
        looks,
        now,
        facts,
        policy,
        says,
        finds,
        grace=0.0 if replica.name in answered else grace,
        new_here=new_here,
    )


def _running(
    looks: Sequence[tuple[datetime, Look]],
    now: Round,
    facts: ProcessFacts,
    policy: HealingPolicy,
    says: Any,
    finds: Any,
    *,
    grace: float,
    new_here: bool,
) -> tuple[Assessment, Finding | None]:
    look = looks[-1][1]
    me = identity(facts)
    mine = [(at, x) for at, x in looks if _is(x, me)]
    frozen = _streak(mine, lambda x: x.facts is not None and x.facts.stopped_by_signal)
    if look.probe is None:
        if frozen >= policy.hung_after_misses:
            since = mine[-frozen][0]
            return says("hung", "its process is stopped by a signal (state T)"), finds(
                "hung", since, pid=facts.pid, frozen=True, misses=0, errors=[]
            )
        if look.unprobed == "it has no HTTP door":
            return says("healthy", "its process runs; it has no HTTP door to ask"), None
        return says("unknown", f"could not be probed: {look.unprobed}"), None
    if look.probe.ok:
        recent = [
            x.probe.latency_ms
            for _, x in mine[-3:]
            if x.probe is not None and x.probe.ok and x.probe.latency_ms is not None
        ]
        if len(recent) == 3 and median(recent) > policy.slow_ms:
            return says("slow", f"answers, in {median(recent):.0f} ms"), None
        return says("healthy", f"answers in {look.probe.latency_ms or 0:.0f} ms"), None
    # Without a start time it is at least as old as the first look at it.
    age = (now.at - (facts.started_at or mine[0][0])).total_seconds()
    answered = any(x.probe is not None and x.probe.ok for _, x in mine)
    starting = age < grace and not answered
    if look.answered_badly:
        if starting:
            return says("starting", f"answers {look.probe.status} while it starts"), None
        return says("failing", f"answers {look.probe.status}"), None
    misses = _streak(mine, lambda x: x.missed)
    error = look.probe.error or "no answer"
    if starting and not frozen:
        return says("starting", f"started {age:.0f} s ago and does not answer yet"), None
    if new_here and not answered and not frozen:
        return says("unknown", f"no answer since the healer began to look ({error})"), None
    if misses >= policy.hung_after_misses:
        first = mine[-misses][0]
        errors = [x.probe.error for _, x in mine[-misses:] if x.probe is not None]
        note = f"no answer to {misses} probes ({error})"
        if facts.stopped_by_signal:
            note += "; its process is stopped by a signal (state T)"
        return says("hung", note), finds(
            "hung",
            first,
            pid=facts.pid,
            frozen=facts.stopped_by_signal,
            misses=misses,
            errors=errors,
            cpu_percent=facts.cpu_percent,
            age_seconds=age,
            ever_answered=answered,
        )
    count = "the last probe" if misses == 1 else f"the last {misses} probes"
    return says("unknown", f"no answer to {count} ({error})"), None


def _is(look: Look, me: Identity | None) -> bool:
    other = identity(look.facts)
    return me is None or other is None or me.same(other)


def _streak(looks: Sequence[tuple[datetime, Look]], holds: Any) -> int:
    count = 0
    for _, look in reversed(looks):
        if not holds(look):
            break
        count += 1
    return count


def _since(looks: Sequence[tuple[datetime, Look]], holds: Any) -> datetime:
    return looks[-max(1, _streak(looks, holds))][0]

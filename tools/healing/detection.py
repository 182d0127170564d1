"""From the history of rounds to statuses and findings; pure, and a root comes before its symptoms.

A finding is a fault that is there *now*. A replica that fails only because something it depends on
fails is a symptom: it is told with its root and gets no finding of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tools.healing.findings import (
    STORE,
    Assessment,
    Crash,
    Finding,
    Identity,
    Picture,
    identity,
)
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round, StoreLook
from tools.healing.replica_faults import judge_replica
from tools.healing.schemas import ReplicaStatus
from tools.kit.infrastructure import Fleet, ProcessFacts, ReplicaSpec, ServiceSpec


def crashes(
    fleet: Fleet, known: Mapping[str, tuple[Identity, datetime]], now: Round
) -> list[Crash]:
    """Replicas whose process is another one than when it was last seen (*known*: who and when)."""
    found: list[Crash] = []
    for service in fleet.services:
        for replica in service.replicas:
            look = now.looks.get(replica.name)
            current = identity(look.facts) if look else None
            if current is None or look is None or look.facts is None:
                continue
            before = known.get(replica.name)
            if before is not None and not before[0].same(current):
                found.append(
                    Crash(
                        service=service.name,
                        replica=replica.name,
                        before=before[0],
                        now=current,
                        last_seen=before[1],
                        exit_note=look.facts.exit_note,
                    )
                )
    return found


def assess(
    rounds: Sequence[Round],
    fleet: Fleet,
    policy: HealingPolicy,
    *,
    began: datetime,
    seen_running: frozenset[str] = frozenset(),
    answered: frozenset[str] = frozenset(),
) -> Picture:
    """What the newest of *rounds* (oldest first, at least one) means in the light of the others.

    Args:
        rounds: history; some twenty rounds are enough.
        fleet: what should be there.
        policy: the thresholds.
        began: when looking began; programs come up one after another while an academy starts.
        seen_running: replicas this healer has seen run.
        answered: replicas whose process of now has answered at some time since its start.
    """
    now = rounds[-1]
    alone: dict[str, Assessment] = {}
    findings: list[Finding] = []
    candidates: dict[str, Finding] = {}
    for service in fleet.services:
        for replica in service.replicas:
            assessment, finding = judge_replica(
                rounds, service, replica, policy, began, seen_running, answered
            )
            alone[replica.name] = assessment
            if finding is not None:
                candidates[replica.name] = finding
    store = _store_down(rounds, fleet, policy, began)
    if store is not None:
        findings.append(store)
    troubled = {f.service: f.target for f in candidates.values()}
    if store is not None or (now.store is not None and not now.store.reachable):
        troubled[STORE] = STORE
    for name, look in now.looks.items():
        # A dependency that has only begun to fail already explains its callers.
        if look.missed and name in alone:
            troubled.setdefault(alone[name].service, f"{alone[name].service}/{name}")
    symptoms: dict[str, list[str]] = {}
    for service in fleet.services:
        root = _root(fleet, service, troubled)
        for replica in service.replicas:
            mine = alone[replica.name]
            finding = candidates.get(replica.name)
            if finding is not None and finding.service == STORE and now.store is not None:
                continue  # said once, as the store being down
            if root and _explained(now, service, replica, finding, mine):
                note = f"{mine.note}; {root} has a fault and explains it"
                alone[replica.name] = Assessment(
                    service.name, replica.name, _symptom_status(mine), note, mine.identity, root
                )
                symptoms.setdefault(root, []).append(f"{replica.name}: {mine.note}")
            elif finding is not None:
                findings.append(finding)
    disks, low = _disks(rounds, fleet, policy)
    return Picture(
        at=now.at,
        assessments=alone,
        findings=(*findings, *disks),
        symptoms={target: tuple(lines) for target, lines in symptoms.items()},
        disk_low=low,
    )


def _store_down(
    rounds: Sequence[Round], fleet: Fleet, policy: HealingPolicy, began: datetime
) -> Finding | None:
    known = [(r.at, r.store) for r in rounds if r.store is not None]
    misses = 0
    for _, asked in reversed(known):
        if asked.reachable:
            break
        misses += 1
    if misses < policy.store_misses:
        return None
    now = rounds[-1]
    answered = any(asked.reachable for _, asked in known)
    if not answered and (now.at - began).total_seconds() < policy.first_look_grace:
        return None
    service = fleet.service(STORE)
    replica = service.replicas[0] if service and service.replicas else None
    look = now.looks.get(replica.name) if replica else None
    facts = look.facts if look else None
    if facts is not None and _store_starts(facts, known, policy, now.at):
        return None
    return Finding(
        kind="store_down",
        service=STORE,
        replica=None,
        target=STORE,
        since=known[-misses][0],
        facts={
            "misses": misses,
            "error": known[-1][1].error,
            "status": facts.status if facts else None,
            "pid": facts.pid if facts else None,
            "frozen": facts.stopped_by_signal if facts else False,
            "exit_note": facts.exit_note if facts else "",
            "ours": replica is not None,
        },
    )


def _store_starts(
    facts: ProcessFacts,
    known: Sequence[tuple[datetime, StoreLook]],
    policy: HealingPolicy,
    at: datetime,
) -> bool:
    """Its process is young and has not answered yet: it recovers, or the machine is busy."""
    started = facts.started_at
    if facts.status not in ("running", "starting") or facts.stopped_by_signal or started is None:
        return False
    answered = any(asked.reachable and when > started for when, asked in known)
    return not answered and (at - started).total_seconds() < policy.academy_grace


def _root(fleet: Fleet, service: ServiceSpec, troubled: Mapping[str, str]) -> str:
    """Target of the deepest fault among what *service* depends on, or an empty string."""
    seen: set[str] = {service.name}
    level = [name for name in service.depends_on if name not in seen]
    found = ""
    while level:
        seen.update(level)
        hits = [troubled[name] for name in level if name in troubled]
        found = hits[0] if hits else found
        below = [fleet.service(name) for name in level]
        level = [n for s in below if s is not None for n in s.depends_on if n not in seen]
    return found


def _explained(
    now: Round,
    service: ServiceSpec,
    replica: ReplicaSpec,
    finding: Finding | None,
    mine: Assessment,
) -> bool:
    """Whether a fault below explains this replica's trouble, given what its siblings do."""
    look = now.looks[replica.name]
    if finding is None:
        return look.answered_badly  # a first miss is not told: the next rounds show what it is
    if finding.kind != "hung" or finding.facts.get("frozen"):
        return False  # nothing below stops a process or keeps it from starting
    siblings = [
        now.looks[r.name]
        for r in service.replicas
        if r.name != replica.name and r.name in now.looks
    ]
    # With the same dependencies a sibling that answers, if only with an error, shows that
    # answering is possible: then the silence is this replica's own.
    return not any(s.probe is not None and s.probe.status is not None for s in siblings)


def _symptom_status(mine: Assessment) -> ReplicaStatus:
    return "failing" if mine.status == "hung" else mine.status


def _disks(
    rounds: Sequence[Round], fleet: Fleet, policy: HealingPolicy
) -> tuple[list[Finding], frozenset[str]]:
    now = rounds[-1]
    findings: list[Finding] = []
    low: set[str] = set()
    shared: dict[tuple[int, int], Finding] = {}
    # Services that declare what may be archived come first: theirs is the fault that can be helped.
    ordered = sorted(fleet.services, key=lambda s: not s.archivable)
    for service in ordered:
        look = now.disks.get(service.name)
        if look is None:
            continue
        free = look.free_percent
        if free is None or look.facts is None:
            low.add(service.name)
            continue
        inodes = look.facts.free_inodes_percent
        if free < policy.disk_recovered_percent or inodes < policy.inodes_free_percent:
            low.add(service.name)
        streak = 0
        since = now.at
        for past in reversed(rounds):
            before = past.disks.get(service.name)
            percent = before.free_percent if before else None
            if percent is None or before is None or before.facts is None:
                break
            if (
                percent >= policy.disk_free_percent
                and before.facts.free_inodes_percent >= policy.inodes_free_percent
            ):
                break
            streak += 1
            since = past.at
        if streak < policy.disk_rounds:
            continue
        key = (look.facts.device, look.facts.total_bytes)
        if not look.facts.limited and key in shared:
            shared[key].facts["shared_with"].append(service.name)
            continue
        finding = Finding(
            kind="disk_filling",
            service=service.name,
            replica=None,
            target=f"{service.name}:data",
            since=since,
            facts={
                "free_percent": round(free, 1),
                "free_bytes": look.facts.free_bytes,
                "total_bytes": look.facts.total_bytes,
                "inodes_free_percent": round(inodes, 1),
                "limited": look.facts.limited,
                "path": str(look.facts.path),
                "archivable": len(service.archivable),
                "shared_with": [],
            },
        )
        if not look.facts.limited:
            shared[key] = finding
        findings.append(finding)
    return findings, frozenset(low)

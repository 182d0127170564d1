"""From the history of rounds to statuses and findings; pure, and a root comes before its symptoms.

A finding is a fault that is there *now*. A replica that fails only because something it depends on
fails is a symptom: it is told with its root and gets no finding of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from tools.healing.policy import HealingPolicy
from tools.healing.probes import Look, Round
from tools.healing.schemas import FaultKind, ReplicaStatus
from tools.kit.infrastructure import Fleet, ProcessFacts, ReplicaSpec, ServiceSpec

STORE = "postgres"
"""Name of the service that is the academy's database."""
SAME_START = timedelta(seconds=2)
"""Two start times of one process may differ by rounding, never by this much."""


@dataclass(frozen=True)
class Identity:
    """One run of one process: a pid alone may be reused."""

    pid: int
    started_at: datetime | None

    def same(self, other: "Identity") -> bool:
        """Whether both name the same run."""
        if self.pid != other.pid or self.started_at is None or other.started_at is None:
            return self.pid == other.pid
        return abs(self.started_at - other.started_at) < SAME_START


@dataclass(frozen=True)
class Assessment:
    """How one replica is, and why we say so."""

    service: str
    replica: str
    status: ReplicaStatus
    note: str
    identity: Identity | None
    because_of: str = ""
    """Target of the fault that explains a bad status, where another one does."""


@dataclass(frozen=True)
class Finding:
    """One fault that is there now, with the figures it was read from."""

    kind: FaultKind
    service: str
    replica: str | None
    target: str
    since: datetime
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Crash:
    """A process that was replaced by another one between two looks."""

    service: str
    replica: str
    before: Identity
    now: Identity
    last_seen: datetime
    exit_note: str


@dataclass(frozen=True)
class Picture:
    """What one round means."""

    at: datetime
    assessments: Mapping[str, Assessment]
    """By replica name."""
    findings: tuple[Finding, ...]
    symptoms: Mapping[str, tuple[str, ...]]
    """Target of a root fault to sentences about what fails because of it."""
    disk_low: frozenset[str]
    """Services whose disk is below the recovery mark, or can't be read."""

    def finding(self, kind: FaultKind, target: str) -> Finding | None:
        """The finding of *kind* at *target*, if the fault is there now."""
        return next((f for f in self.findings if f.kind == kind and f.target == target), None)


def identity(facts: ProcessFacts | None) -> Identity | None:
    """Which run of a process *facts* describe, where there is one."""
    if facts is None or facts.pid is None:
        return None
    return Identity(facts.pid, facts.started_at)


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
) -> Picture:
    """What the newest of *rounds* (oldest first, at least one) means in the light of the others.

    Args:
        rounds: history; some twenty rounds are enough.
        fleet: what should be there.
        policy: the thresholds.
        began: when looking began; programs come up one after another while an academy starts.
        seen_running: replicas this healer has seen run.
    """
    now = rounds[-1]
    alone: dict[str, Assessment] = {}
    findings: list[Finding] = []
    candidates: dict[str, Finding] = {}
    for service in fleet.services:
        for replica in service.replicas:
            assessment, finding = _replica(rounds, service, replica, policy, began, seen_running)
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


def _replica(
    rounds: Sequence[Round],
    service: ServiceSpec,
    replica: ReplicaSpec,
    policy: HealingPolicy,
    began: datetime,
    seen_running: frozenset[str],
) -> tuple[Assessment, Finding | None]:
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
        young = (now.at - began).total_seconds() < policy.first_look_grace
        if down >= patience and (replica.name in seen_running or not young):
            return says("dead", note), finds("dead", down_since, **figures)
        return says("starting" if status == "backoff" else "stopped", note), None
    if facts.status == "starting":
        return says("starting", "it is starting"), None
    return _running(looks, now, facts, policy, says, finds)


def _running(
    looks: Sequence[tuple[datetime, Look]],
    now: Round,
    facts: ProcessFacts,
    policy: HealingPolicy,
    says: Any,
    finds: Any,
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
    age = (now.at - facts.started_at).total_seconds() if facts.started_at else None
    answered = any(x.probe is not None and x.probe.ok for _, x in mine)
    starting = age is not None and age < policy.startup_grace and not answered
    if look.answered_badly:
        if starting:
            return says("starting", f"answers {look.probe.status} while it starts"), None
        return says("failing", f"answers {look.probe.status}"), None
    misses = _streak(mine, lambda x: x.missed)
    error = look.probe.error or "no answer"
    if starting and not frozen:
        return says("starting", f"started {age:.0f} s ago and does not answer yet"), None
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
        return look.answered_badly or (look.missed and mine.status == "unknown")
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

"""What the healer remembers of the fleet between rounds: sightings, statuses, signals.

Signals are kept as averages over `sample_seconds`: ten minutes in memory for charts, and a bounded
queue of those the database has not got yet (the oldest go first, and how many went is told).
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tools.healing.findings import Assessment, Identity, Picture, identity
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round
from tools.healing.schemas import (
    FleetView,
    IncidentView,
    ReplicaStatus,
    ReplicaView,
    Series,
    ServiceView,
)
from tools.healing.signals import series_of
from tools.kit.infrastructure import Fleet

CHART = timedelta(minutes=10)
"""How far back the series in memory reach."""
UNSAVED_SAMPLES = 20_000
"""Samples kept for the database while it is down: about half an hour of a dozen replicas."""
BODY_SIGNALS = 6
"""Numbers taken from one health answer, so that a broken one can't flood the signals."""

SEVERITY: tuple[ReplicaStatus, ...] = (
    "healthy",
    "starting",
    "slow",
    "unknown",
    "stopped",
    "failing",
    "hung",
    "dead",
)
"""From well to worst; a service shows the worst of its replicas."""


@dataclass(frozen=True)
class Sample:
    """The average of one signal over a few rounds."""

    service: str
    replica: str
    """Empty for a signal of the whole service."""
    name: str
    at: datetime
    value: float


@dataclass
class Sighting:
    """What is remembered of one replica."""

    identity: Identity | None = None
    seen_at: datetime | None = None
    exit_note: str = ""
    restarts: int = 0
    status: ReplicaStatus = "unknown"
    since: datetime | None = None
    ran: bool = False
    """This healer has seen it run."""
    answered: bool = False
    """The process `identity` names has answered at some time."""


@dataclass
class Watch:
    """The memory of one healer."""

    policy: HealingPolicy
    sightings: dict[str, Sighting] = field(default_factory=lambda: defaultdict(Sighting))
    latest: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """Latest signals by service and replica."""
    series: dict[tuple[str, str, str], deque[tuple[datetime, float]]] = field(default_factory=dict)
    unsaved: deque[Sample] = field(default_factory=lambda: deque(maxlen=UNSAVED_SAMPLES))
    dropped: int = 0
    _sums: dict[tuple[str, str, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _sampled_at: datetime | None = None

    def known(self) -> dict[str, tuple[Identity, datetime]]:
        """Who each replica was when it was last seen running, and when that was."""
        return {
            name: (s.identity, s.seen_at)
            for name, s in self.sightings.items()
            if s.identity is not None and s.seen_at is not None
        }

    def seen_running(self) -> frozenset[str]:
        """Replicas this healer has seen run."""
        return frozenset(name for name, s in self.sightings.items() if s.ran)

    def answered(self) -> frozenset[str]:
        """Replicas whose process of now has answered at some time since its start."""
        return frozenset(name for name, s in self.sightings.items() if s.answered)

    def forget_processes(self) -> None:
        """Forget who ran: the academy was started anew, and nobody is who they were."""
        for seen in self.sightings.values():
            seen.identity, seen.seen_at, seen.answered = None, None, False

    def last_exit(self, replica: str) -> str:
        """What the supervisor last said of how the replica's process ended."""
        return self.sightings[replica].exit_note if replica in self.sightings else ""

    def saved(self, count: int) -> None:
        """The oldest *count* samples are in the database."""
        for _ in range(min(count, len(self.unsaved))):
            self.unsaved.popleft()
        self.dropped = 0

    def remember(self, now: Round) -> None:
        """Take in who runs now; call it after comparing with `known`."""
        for name, look in now.looks.items():
            current = identity(look.facts)
            seen = self.sightings[name]
            if look.facts is not None and look.facts.exit_note:
                seen.exit_note = look.facts.exit_note
            if current is None or look.facts is None:
                continue
            if seen.identity is not None and not seen.identity.same(current):
                seen.restarts += 1
                seen.answered = False
            seen.identity, seen.seen_at = current, now.at
            seen.answered = seen.answered or (look.probe is not None and look.probe.ok)
            seen.ran = seen.ran or look.facts.status == "running"

    def judge(self, picture: Picture) -> None:
        """Take in how each replica is, and since when."""
        for name, assessment in picture.assessments.items():
            seen = self.sightings[name]
            if seen.status != assessment.status or seen.since is None:
                seen.status, seen.since = assessment.status, picture.at
        for name in list(self.sightings):
            if name not in picture.assessments:
                del self.sightings[name]

    def measure(self, now: Round, fleet: Fleet) -> None:
        """Take in the round's figures; every `sample_seconds` they become one sample each."""
        self.latest = {}
        for service in fleet.services:
            for replica in service.replicas:
                look = now.looks.get(replica.name)
                if look is None:
                    continue
                figures: dict[str, float] = {}
                if look.facts is not None:
                    if look.facts.rss_bytes is not None:
                        figures["rss_mb"] = round(look.facts.rss_bytes / 1e6, 1)
                    if look.facts.cpu_percent is not None:
                        figures["cpu_percent"] = round(look.facts.cpu_percent, 1)
                    if look.facts.open_files is not None:
                        figures["open_files"] = float(look.facts.open_files)
                if look.probe is not None and look.probe.ok:
                    if look.probe.latency_ms is not None:
                        figures["latency_ms"] = round(look.probe.latency_ms, 2)
                    figures.update(body_signals(look.probe.body, taken=figures))
                self.latest[service.name, replica.name] = figures
            disk = now.disks.get(service.name)
            if disk is not None and disk.free_percent is not None:
                self.latest[service.name, ""] = {"disk_free_percent": round(disk.free_percent, 2)}
        for (service_name, replica_name), values in self.latest.items():
            for name, value in values.items():
                self._sums[service_name, replica_name, name].append(value)
        if self._sampled_at is None:
            self._sampled_at = now.at
        elif (now.at - self._sampled_at).total_seconds() >= self.policy.sample_seconds:
            self._sample(now.at)

    def _sample(self, at: datetime) -> None:
        self._sampled_at = at
        for key, values in self._sums.items():
            value = round(sum(values) / len(values), 3)
            points = self.series.setdefault(key, deque())
            points.append((at, value))
            if len(self.unsaved) == self.unsaved.maxlen:
                self.dropped += 1
            self.unsaved.append(Sample(*key, at=at, value=value))
        self._sums.clear()
        for key in list(self.series):
            points = self.series[key]
            while points and at - points[0][0] > CHART:
                points.popleft()
            if not points:
                del self.series[key]

    def to_json(self) -> dict[str, Any]:
        """What a restarted healer should know of the replicas."""
        return {
            name: {
                "pid": s.identity.pid if s.identity else None,
                "started_at": s.identity.started_at.isoformat()
                if s.identity and s.identity.started_at
                else None,
                "seen_at": s.seen_at.isoformat() if s.seen_at else None,
                "answered": s.answered,
                "restarts": s.restarts,
                "status": s.status,
                "since": s.since.isoformat() if s.since else None,
            }
            for name, s in self.sightings.items()
        }

    def from_json(self, stored: Mapping[str, Any]) -> None:
        """Take over what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it isn't what `to_json` writes.
        """
        for name, s in stored.items():
            moment = _moment(s["seen_at"])
            self.sightings[name] = Sighting(
                identity=Identity(int(s["pid"]), _moment(s["started_at"])) if s["pid"] else None,
                seen_at=moment,
                restarts=int(s["restarts"]),
                status=s["status"],
                since=_moment(s["since"]),
                answered=bool(s["answered"]),
            )


def body_signals(body: str, *, taken: Iterable[str] = ()) -> dict[str, float]:
    """Numbers at the top level of a JSON health answer; text and the rest of it are ignored."""
    try:
        content = json.loads(body) if body.startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    known = set(taken)
    numbers = {
        key: float(value)
        for key, value in content.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and key.isidentifier()
        and key not in known
        and abs(value) < 1e15
    }
    return dict(list(numbers.items())[:BODY_SIGNALS])


def worst(statuses: Sequence[ReplicaStatus]) -> ReplicaStatus:
    """The worst of several statuses; `unknown` for none."""
    return max(statuses, key=SEVERITY.index, default="unknown")


def fleet_view(
    watch: Watch,
    fleet: Fleet,
    picture: Picture,
    incidents: Sequence[IncidentView],
    problems: Sequence[str],
    *,
    with_series: bool,
) -> FleetView:
    """The fleet as the healer sees it now."""
    services = []
    for service in fleet.services:
        replicas = [
            _replica_view(watch, service.name, picture.assessments[r.name], with_series=with_series)
            for r in service.replicas
            if r.name in picture.assessments
        ]
        services.append(
            ServiceView(
                name=service.name,
                title=service.title,
                kind=service.kind,
                status=worst([r.status for r in replicas]),
                depends_on=list(service.depends_on),
                replicas=replicas,
                series=_series(watch, service.name, "") if with_series else [],
                open_incidents=[
                    i.id for i in incidents if i.service == service.name and i.closed_at is None
                ],
            )
        )
    return FleetView(services=services, looked_at=picture.at, problems=list(problems))


def _replica_view(
    watch: Watch, service: str, assessment: Assessment, *, with_series: bool
) -> ReplicaView:
    seen = watch.sightings[assessment.replica]
    return ReplicaView(
        name=assessment.replica,
        status=assessment.status,
        note=assessment.note,
        pid=assessment.identity.pid if assessment.identity else None,
        started_at=assessment.identity.started_at if assessment.identity else None,
        restarts=seen.restarts,
        since=seen.since,
        signals=watch.latest.get((service, assessment.replica), {}),
        series=_series(watch, service, assessment.replica) if with_series else [],
    )


def _series(watch: Watch, service: str, replica: str) -> list[Series]:
    return [
        series_of(name, points)
        for (s, r, name), points in watch.series.items()
        if s == service and r == replica
    ]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

"""The values of detection: who runs, how each replica is, what is wrong, what it all means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tools.healing.schemas import FaultKind, ReplicaStatus
from tools.kit.infrastructure import ProcessFacts

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

"""Values of the healing room, shared by tools, routes, pages and the command line."""

from datetime import datetime
from typing import Any, Literal

from tools.kit.operation import Value

ReplicaStatus = Literal[
    "healthy", "slow", "failing", "hung", "dead", "starting", "stopped", "unknown"
]
"""`failing` answers, but with an error; `unknown` could not be asked, or missed a first probe."""
IncidentState = Literal[
    "open",
    "explained",
    "asking",
    "acting",
    "verifying",
    "waiting",
    "closed",
    "escalated",
]
FaultKind = Literal["dead", "hung", "crashed", "disk_filling", "store_down", "autonomy_withdrawn"]
"""What can be wrong; `autonomy_withdrawn` is told by the gate and for people alone."""


class Series(Value):
    """The recent past of one signal, oldest first."""

    name: str
    title: str
    unit: str
    points: list[tuple[datetime, float]]


class ReplicaView(Value):
    """One replica as the healer last saw it."""

    name: str
    status: ReplicaStatus
    note: str
    pid: int | None
    started_at: datetime | None
    restarts: int
    since: datetime | None
    signals: dict[str, float]
    series: list[Series] = []


class ServiceView(Value):
    """One service with its replicas and the worst of their states."""

    name: str
    title: str
    kind: Literal["fleet", "academy"]
    status: ReplicaStatus
    depends_on: list[str]
    replicas: list[ReplicaView]
    series: list[Series] = []
    """Signals of the whole service, such as its disk."""
    open_incidents: list[str]


class FleetView(Value):
    """The whole fleet, and when the healer last looked."""

    services: list[ServiceView]
    looked_at: datetime | None
    problems: list[str]


class IncidentEventView(Value):
    """One line of an incident's timeline."""

    at: datetime
    kind: str
    text: str
    data: dict[str, Any] = {}


class IncidentView(Value):
    """One incident with its cause, evidence and, where asked for, its timeline."""

    id: str
    service: str
    replica: str | None
    target: str
    kind: FaultKind
    state: IncidentState
    title: str
    cause: str
    explanation: str
    evidence: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    resolution: str
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    action_ids: list[str] = []
    timeline: list[IncidentEventView] = []

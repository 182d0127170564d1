"""What the door to an operation hands back: never an effect, only what it would like to happen."""

from dataclasses import dataclass

from tools.kit.gatekeeper import Intention
from tools.kit.ledger import Purpose


@dataclass(frozen=True)
class Proposal:
    """Effects for the gate to judge, in order, under one title; the gated toolset proposes them."""

    title: str
    intentions: tuple[Intention, ...]
    incident_id: str | None = None
    """The incident that calls for it, where one does."""


@dataclass(frozen=True)
class Question:
    """A question that is already stored and waits for a person, such as whether to undo."""

    approval_id: str
    digest: str
    title: str
    purpose: Purpose

"""The shape of a gated effect: six functions, driven by `tools/kit/drive.py`, never by their room.

No effect happens outside `apply` and `undo`. `apply` is idempotent under the action's id; `observe`
answers from the world alone, so that a crash between effect and record can be told from none, and
one in the middle of an effect from both.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from tools.kit.clock import Clock
from tools.kit.infrastructure import Fleet, Infrastructure
from tools.kit.plain import one_line

Risk = Literal["low", "medium", "high", "critical"]
Reversibility = Literal["exact", "compensating", "nothing_to_undo", "irreversible"]
Observation = Literal["done", "not_done", "half_done", "unknown"]
"""What the world says of an effect. `half_done`: begun and not completed, and `apply` under the
same key completes it without doing any part of it twice."""


class Value(BaseModel):
    """A frozen pydantic value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(Value):
    """What an operation would change, before any of it happens."""

    target: str
    """What the action holds exclusively, such as `catalog/catalog-1`."""
    summary: str
    """One sentence in the imperative, such as `Restart catalog-1 of catalog`."""
    diff: list[str]
    """Lines a person can read: `- old`, `+ new`, or `  context`."""
    state: dict[str, Any]
    """The planned-on state that `precondition` compares with the world (pid, start, checksums)."""
    region: dict[str, Any]
    """Where the action lies for evidence coverage: kind of target, adapter, magnitude."""

    @field_validator("summary")
    @classmethod
    def _plain_summary(cls, summary: str) -> str:
        return one_line(summary)

    @field_validator("diff")
    @classmethod
    def _plain_diff(cls, lines: list[str]) -> list[str]:
        return [one_line(line) for line in lines]


class Check(Value):
    """Whether something holds, in words and figures."""

    ok: bool
    text: str
    measured: dict[str, Any] = {}


class Warrant(Value):
    """The cause an action names: an incident, a due schedule, or a person's own request."""

    kind: Literal["incident", "schedule", "request", "none"]
    id: str
    """The incident, schedule or run."""
    operation: str
    target: str
    """Operation and target this cause calls for; compared with the action's by the gate."""
    text: str = ""


@dataclass(frozen=True)
class OperationContext:
    """What the six functions may use."""

    infrastructure: Infrastructure
    clock: Clock


A = TypeVar("A", bound=BaseModel)


class Operation(ABC, Generic[A]):
    """One kind of effect. Subclasses are stateless; one instance serves all actions."""

    name: ClassVar[str]
    """`room.verb_noun`, such as `healing.restart_replica`."""
    title: ClassVar[str]
    """What a person calls it, such as `Restart a replica`."""
    arguments: type[A]
    risk: ClassVar[Risk]
    reversibility: ClassVar[Reversibility]
    autonomous: ClassVar[bool] = True
    """Whether evidence may ever let it run alone (irreversible and critical never may)."""
    verify_within: ClassVar[timedelta] = timedelta(seconds=20)
    """How long `verify` is repeated until it holds."""
    called_for_by: ClassVar[frozenset[str]] = frozenset()
    """Kinds of incident it answers; one of another kind is no cause for it."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions it depends on and imports nothing of, such as a program: those it imports are
    found in its code. Evidence counts for the versions of both."""
    data_files: ClassVar[tuple[Path, ...]] = ()
    """Files its behaviour is read from: evidence counts for their content."""

    engines: ClassVar[tuple[str, ...]] = ()
    """Modules that decide when it is wanted: evidence of an engine's decisions counts for them."""

    def settings(self) -> dict[str, Any]:
        """What it was built with, as JSON: evidence counts for these settings."""
        return {}

    def targets(self, fleet: Fleet) -> dict[str, A]:
        """Every target of *fleet* it could act on, with the arguments for it.

        What may be permitted in advance: none, unless an operation can name them.
        """
        return {}

    @abstractmethod
    async def plan(self, context: OperationContext, arguments: A) -> Plan:
        """What would change; no effect. Raises a `CapabilityError` where it can't be done."""

    @abstractmethod
    async def precondition(self, context: OperationContext, arguments: A, plan: Plan) -> Check:
        """Whether the planned-on state is still true, asked at the moment of effect."""

    @abstractmethod
    async def apply(
        self, context: OperationContext, arguments: A, plan: Plan, key: str
    ) -> dict[str, Any]:
        """The effect, idempotent under *key*; answers what `verify` and `undo` need.

        Called once for an intent, and again only where `observe` answers `half_done`: then it does
        what is missing.
        """

    @abstractmethod
    async def observe(
        self, context: OperationContext, arguments: A, plan: Plan, key: str
    ) -> Observation:
        """After a crash: was the effect of *key* done? Answered from the world."""

    @abstractmethod
    async def verify(
        self, context: OperationContext, arguments: A, plan: Plan, effect: dict[str, Any]
    ) -> Check:
        """Did it help? A probe of the world, never of the effect's return value."""

    @abstractmethod
    async def undo(
        self, context: OperationContext, arguments: A, plan: Plan, effect: dict[str, Any], key: str
    ) -> Check:
        """Take the effect back; where there is nothing to undo, say so."""

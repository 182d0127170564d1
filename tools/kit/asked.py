"""What a person asked for in one message, as code read it: the warrant of an action from chat."""

from dataclasses import dataclass
from typing import Literal

RequestedOperation = Literal["restart", "archive", "undo"]


@dataclass(frozen=True)
class Request:
    """One instruction found in the words of a person."""

    operation: RequestedOperation
    service: str | None
    """None for an undo, which names an action or means the last one."""
    replica: str | None
    """None where the whole service was named."""
    text: str
    """The clause it was read from."""
    action_id: str | None = None

    def covers(self, operation: RequestedOperation, service: str, replica: str | None) -> bool:
        """Whether an effect on *service* (or one *replica* of it) is what was asked for."""
        return (
            self.operation == operation
            and self.service == service
            and self.replica in (None, replica)
        )


@dataclass(frozen=True)
class Unfinished:
    """An instruction that lacked its target, for the next message to complete."""

    operation: RequestedOperation
    meant: tuple[str, str | None] | None
    """Service and replica a misspelt name probably stands for: "yes" completes it."""


@dataclass(frozen=True)
class Reading:
    """Everything a message asks for, and what could not be told."""

    requests: tuple[Request, ...] = ()
    unsure: tuple[str, ...] = ()
    """Sentences to ask the person with, where an instruction was heard but not understood."""

    unfinished: Unfinished | None = None

    def find(
        self, operation: RequestedOperation, service: str, replica: str | None
    ) -> Request | None:
        """The request that calls for this effect, if there is one."""
        return next((r for r in self.requests if r.covers(operation, service, replica)), None)

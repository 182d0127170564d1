"""Errors know a kind, not a status; each door translates the kind for its caller.

`server/error_handlers.py` turns a kind into HTTP problem details; `agents/gated_toolset.py` into
`ModelRetry` (invalid) or `ToolFailed` (the rest); the command line into a message and exit code.
"""

from typing import Any, ClassVar, Literal

ErrorKind = Literal["not_found", "conflict", "forbidden", "invalid", "unavailable"]


class CapabilityError(Exception):
    """A room declined or failed; the message says what was wrong and what would be right."""

    kind: ClassVar[ErrorKind] = "invalid"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class NotFound(CapabilityError):
    """The named thing does not exist, or not for this caller."""

    kind = "not_found"


class Conflict(CapabilityError):
    """The thing is in a state that does not allow this."""

    kind = "conflict"


class Forbidden(CapabilityError):
    """The caller may not do this."""

    kind = "forbidden"


class Invalid(CapabilityError):
    """The input is wrong; the message names what would be right."""

    kind = "invalid"


class Unavailable(CapabilityError):
    """Something this depends on can't be reached now."""

    kind = "unavailable"

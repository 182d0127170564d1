"""What a thread's graph remembers between nodes, turns and processes: plain values only.

Histories are JSON texts and not objects, so that a checkpoint loads under the strict serializer and
in a later release.
"""

from typing import Any, TypedDict

TALK_KEPT = 12
"""Messages the router looks back on: six turns, enough for "why?" and "undo that"."""


class StepState(TypedDict):
    """One part of a request."""

    specialist: str
    task: str


class PendingCall(TypedDict):
    """A tool call that waits for a person."""

    tool_call_id: str
    tool: str
    approval_id: str
    digest: str
    title: str
    purpose: str


class TalkLine(TypedDict):
    """One message of the conversation, with the specialist that spoke."""

    role: str
    text: str
    name: str


class TurnState(TypedDict, total=False):
    """The state of a thread."""

    run_id: str
    """The message run this turn belongs to; it stays over pauses and crashes."""
    text: str
    """What the person wrote."""
    specialist: str
    """Whom the person chose to write to; empty where the supervisor routes."""
    steps: list[StepState]
    position: int
    """Index of the step at work."""
    pending: list[PendingCall]
    decisions: dict[str, str]
    """Tool call to how its question was settled (`approved`, `denied`, `expired`, `withdrawn`)."""
    histories: dict[str, str]
    """Specialist to its message history as JSON."""
    taints: dict[str, list[str]]
    """Specialist to the outside sources its history holds."""
    identifiers: dict[str, dict[str, str]]
    """Kind to identifier to the trusted read of this conversation that returned it."""
    talk: list[TalkLine]
    said: list[str]
    """What was answered in this turn, for `remember`."""
    notes: list[dict[str, Any]]
    """What was recalled for this turn: id and text."""


def lengthened(talk: list[TalkLine], *lines: TalkLine) -> list[TalkLine]:
    """The conversation with *lines* added, cut to its last `TALK_KEPT` messages."""
    return [*talk, *lines][-TALK_KEPT:]

"""A conversation as a page shows it, built from the stored events and nothing else.

The page and its stream use the same reduction: the page shows the whole of it, the stream sends
each item that a batch of events changed. An item has an id of its own and is always sent whole, so
a stream that is resumed, or replayed, puts each item in its place once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from graphs.threads import EventView, MessageView, ThreadView

MOST_EVENTS = 3000
"""Newest events that a page shows; a longer conversation begins in its middle, and says so."""


UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def key_of(kind: str, name: str) -> str:
    """An item's id in the page: what a style sheet's selector takes without quoting."""
    return f"{kind}-{UNSAFE.sub('_', name)}"


def doing(snapshot: Mapping[str, Any]) -> str:
    """What the agent is at, in words; empty where the snapshot doesn't say."""
    status = str(snapshot.get("status") or "").replace("_", " ").capitalize()
    who = list(dict.fromkeys(str(step["specialist"]) for step in snapshot.get("steps") or ()))
    return f"{status}: {', '.join(who)}" if status and who else status


@dataclass
class Said:
    """What somebody said; grows while it is streamed."""

    key: str
    role: Literal["user", "assistant"]
    text: str
    at: datetime
    open: bool = False
    kind: str = "said"


def said_by_person(run_id: str, text: str, at: datetime) -> Said:
    """What the person wrote, under the run that answers it."""
    return Said(key=key_of("user", run_id), role="user", text=text, at=at)


@dataclass
class ToolCall:
    """One use of a tool: what it was called with and what it answered."""

    key: str
    name: str
    title: str
    at: datetime
    arguments: str = ""
    result: str = ""
    state: Literal["running", "ok", "failed"] = "running"
    kind: str = "tool"


@dataclass
class Question:
    """An approval the conversation waits for."""

    key: str
    approval_id: str
    at: datetime
    kind: str = "question"


@dataclass
class Failure:
    """A turn that could not be finished."""

    key: str
    text: str
    at: datetime
    kind: str = "failure"


Item = Said | ToolCall | Question | Failure


@dataclass
class Transcript:
    """Items in their order, and what the agent is doing now."""

    asked: dict[str, MessageView] = field(default_factory=dict)
    """What the person wrote, by the run that answers it."""
    items: dict[str, Item] = field(default_factory=dict)
    doing: str = ""
    """What the running turn is at; empty between turns."""
    _runs: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, thread: ThreadView, events: Iterable[EventView]) -> "Transcript":
        """The conversation so far."""
        transcript = cls()
        transcript.know(thread.messages)
        for event in events:
            transcript.apply(event)
        if thread.run is not None and thread.run.state in ("queued", "running"):
            transcript.doing = transcript.doing or "Waiting for the agent"
        return transcript

    def know(self, messages: Sequence[MessageView]) -> None:
        """Take in what the person wrote; it joins the items when its run begins."""
        for message in messages:
            if message.role == "user" and message.run_id is not None:
                self.asked.setdefault(message.run_id, message)

    def unanswered(self) -> list[Said]:
        """What was written and no run has begun to answer: it stands below everything else."""
        return [
            said_by_person(run_id, message.text, message.created_at)
            for run_id, message in self.asked.items()
            if key_of("user", run_id) not in self.items
        ]

    def misses(self, events: Sequence[EventView]) -> bool:
        """Whether a run begins that answers something this transcript doesn't know of."""
        begun = {event.run_id for event in events if event.type == "RUN_STARTED"}
        return bool(begun - self._runs - self.asked.keys())

    def _show_asked(self, run_id: str) -> str | None:
        message = self.asked.get(run_id)
        key = key_of("user", run_id)
        if message is None or key in self.items:
            return None
        self.items[key] = said_by_person(run_id, message.text, message.created_at)
        return key

    def apply(self, event: EventView) -> list[str]:
        """Take in one event; the keys of the items it changed or added."""
        self._runs.add(event.run_id)
        changed: list[str] = []
        if event.type == "RUN_STARTED":
            shown = self._show_asked(event.run_id)
            self.doing = "Reading your message"
            return [shown] if shown else []
        if event.type.startswith("TEXT_MESSAGE"):
            changed = self._text(event)
        elif event.type.startswith("TOOL_CALL"):
            changed = self._tool(event)
        elif event.type == "STATE_SNAPSHOT":
            self.doing = doing(event.data.get("snapshot") or {}) or self.doing
        elif event.type == "RUN_FINISHED":
            self.doing = ""
            changed = self._finished(event)
        elif event.type == "RUN_ERROR":
            self.doing = ""
            changed = self._failed(event)
        return changed

    def _text(self, event: EventView) -> list[str]:
        key = key_of("said", str(event.data["messageId"]))
        said = self.items.get(key)
        if event.type == "TEXT_MESSAGE_START" or not isinstance(said, Said):
            said = Said(key=key, role="assistant", text="", at=event.at, open=True)
            self.items[key] = said
        said.text += str(event.data.get("delta", ""))
        if event.type == "TEXT_MESSAGE_END":
            said.open = False
        return [key]

    def _tool(self, event: EventView) -> list[str]:
        key = key_of("tool", str(event.data["toolCallId"]))
        call = self.items.get(key)
        if event.type == "TOOL_CALL_START" or not isinstance(call, ToolCall):
            name = str(event.data.get("toolCallName", "tool"))
            title = str(event.data.get("title") or name.replace("_", " ").capitalize())
            call = ToolCall(key=key, name=name, title=title, at=event.at)
            self.items[key] = call
        if event.type == "TOOL_CALL_ARGS":
            call.arguments += str(event.data.get("delta", ""))
        if event.type == "TOOL_CALL_RESULT":
            call.result = str(event.data.get("content", ""))
            call.state = "ok" if event.data.get("ok", True) else "failed"
        return [key]

    def _finished(self, event: EventView) -> list[str]:
        outcome: dict[str, Any] = event.data.get("outcome") or {}
        changed: list[str] = []
        for interrupt in outcome.get("interrupts", ()):
            approval_id = str(interrupt["approvalId"])
            key = key_of("approval", approval_id)
            self.items.setdefault(key, Question(key=key, approval_id=approval_id, at=event.at))
            changed.append(key)
        return changed

    def _failed(self, event: EventView) -> list[str]:
        key = f"failure-{event.seq}"
        text = str(event.data.get("message") or "The turn could not be finished.")
        self.items[key] = Failure(key=key, text=text, at=event.at)
        return [key]

    def questions(self) -> list[str]:
        """Ids of the approvals this conversation asked for, in order."""
        return [item.approval_id for item in self.items.values() if isinstance(item, Question)]

"""One incident as the loop holds it: a view that only grows by events, and what they mean.

Everything the loop must know after a restart (the open question, how often it acted, on which
process it asked) is read from the timeline, so a stored incident is a complete one.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from memory.ids import new_id
from tools.healing.diagnosis import Diagnosis
from tools.healing.schemas import FaultKind, IncidentEventView, IncidentState, IncidentView

ASKED = ("asked", "permitted")
"""Events that name a proposed action."""
ANSWERED = ("denied", "expired", "withdrawn", "refused", "acted")
"""Events after which nothing of the latest proposal is open."""
MOST_NOTES = 200
"""Lines of a timeline; an incident that gets longer keeps counting nothing new."""


class Case:
    """An incident under the loop's care.

    Attributes:
        view: the incident as everybody sees it, replaced at each change.
        good: rounds in a row in which the fault was gone.
        version: grows with each change; `saved` is the version the database has.
        task: the call to the gatekeeper under way, if any.
        retry_at: when a call that could not be made is tried again.
    """

    def __init__(self, view: IncidentView, *, saved: bool = False) -> None:
        self.view = view
        self.good = 0
        self.version = 1
        self.saved = 1 if saved else 0
        self.task: asyncio.Task[None] | None = None
        self.retry_at: datetime | None = None

    @classmethod
    def open(
        cls,
        kind: FaultKind,
        service: str,
        replica: str | None,
        target: str,
        diagnosis: Diagnosis,
        *,
        since: datetime,
        at: datetime,
    ) -> "Case":
        """A new incident, detected and explained."""
        case = cls(
            IncidentView(
                id=new_id("inc"),
                service=service,
                replica=replica,
                target=target,
                kind=kind,
                state="open",
                title=diagnosis.title,
                cause=diagnosis.cause,
                explanation=diagnosis.explanation,
                evidence=list(diagnosis.evidence),
                before=diagnosis.before,
                after={},
                resolution="",
                opened_at=at,
                updated_at=at,
                closed_at=None,
            )
        )
        case.add(at, "detected", f"{diagnosis.title}.", since=since.isoformat())
        case.move("explained", at, "explained", f"{diagnosis.cause} {diagnosis.explanation}")
        return case

    @property
    def id(self) -> str:
        """The incident's id."""
        return self.view.id

    @property
    def state(self) -> IncidentState:
        """The incident's state."""
        return self.view.state

    @property
    def is_open(self) -> bool:
        """Whether it still needs care."""
        return self.view.closed_at is None

    @property
    def dirty(self) -> bool:
        """Whether the database lacks its last change."""
        return self.saved < self.version

    @property
    def busy(self) -> bool:
        """Whether a call for it is under way."""
        return self.task is not None and not self.task.done()

    def add(self, at: datetime, kind: str, text: str, **data: Any) -> None:
        """Append one line to the timeline."""
        if len(self.view.timeline) >= MOST_NOTES and kind == "note":
            return
        event = IncidentEventView(at=at, kind=kind, text=text, data=data)
        self.change(at, timeline=[*self.view.timeline, event])
        self.change(at, action_ids=self.action_ids)

    def note_once(self, at: datetime, text: str) -> bool:
        """Append a note unless it is the last thing that was said; whether it was new."""
        if any(e.kind == "note" and e.text == text for e in self.view.timeline[-3:]):
            return False
        self.add(at, "note", text)
        return True

    def move(self, state: IncidentState, at: datetime, kind: str, text: str, **data: Any) -> None:
        """Change the state and say so."""
        self.change(at, state=state)
        self.add(at, kind, text, **data)

    def change(self, at: datetime, **fields: Any) -> None:
        """Replace fields of the view."""
        self.view = self.view.model_copy(update={**fields, "updated_at": at})
        self.version += 1

    def last(self, *kinds: str) -> IncidentEventView | None:
        """The latest event of one of *kinds*."""
        return next((e for e in reversed(self.view.timeline) if e.kind in kinds), None)

    def count(self, *kinds: str) -> int:
        """How many events of *kinds* there are."""
        return sum(e.kind in kinds for e in self.view.timeline)

    @property
    def approval_id(self) -> str | None:
        """The latest question put to a person, if the gate asked."""
        event = self.last(*ASKED)
        return event.data.get("approval_id") if event else None

    @property
    def action_id(self) -> str | None:
        """The latest proposed action."""
        event = self.last(*ASKED)
        return next(iter(event.data.get("action_ids", [])), None) if event else None

    @property
    def action_ids(self) -> list[str]:
        """Every action ever proposed for it, in order."""
        named = [a for e in self.view.timeline for a in e.data.get("action_ids", [])]
        return list(dict.fromkeys(named))

    @property
    def acts_alone(self) -> bool:
        """Whether the latest proposed action goes by a standing permit, not by the database."""
        event = self.last(*ASKED)
        return bool(event and event.data.get("standing"))

    @property
    def acted(self) -> int:
        """How many actions were begun for it."""
        return self.count("acting")

    @property
    def proposals(self) -> int:
        """How often something was proposed for it."""
        return self.count(*ASKED)

    @property
    def asked_about(self) -> str:
        """The process the latest question was about, as `pid@start`; empty when none."""
        event = self.last(*ASKED)
        return str(event.data.get("process", "")) if event else ""

    @property
    def question_open(self) -> bool:
        """Whether the latest proposal may still be waiting for an answer or for its turn."""
        event = self.last(*ASKED, *ANSWERED)
        return event is not None and event.kind in ASKED

    @property
    def may_ask_again(self) -> bool:
        """Whether the escalation allows another question once the state or the time has changed."""
        event = self.last("escalated")
        return bool(event and event.data.get("again"))

    def close(self, at: datetime, resolution: str, after: dict[str, Any]) -> None:
        """End it, saying how."""
        self.change(at, after=after, resolution=resolution, closed_at=at)
        self.move("closed", at, "closed", resolution)


def continued(stored: IncidentView, fresh: IncidentView) -> IncidentView:
    """*stored* goes on where *fresh*, opened for the same fault by a healer that lost it, began."""
    return stored.model_copy(
        update={
            "timeline": [
                *stored.timeline,
                *(e for e in fresh.timeline if e.at > stored.opened_at and e.kind == "note"),
                IncidentEventView(
                    at=fresh.opened_at,
                    kind="note",
                    text="The healer was restarted and found this fault again.",
                ),
            ],
            "updated_at": fresh.updated_at,
        }
    )


def newest(views: Sequence[IncidentView]) -> IncidentView:
    """The one that changed last; of equals the one with the longer timeline."""
    return max(views, key=lambda v: (v.updated_at, len(v.timeline)))

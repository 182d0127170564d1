"""What the journal's lines tell, action by action."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tools.autonomy.journal import Line
from tools.autonomy.ledger import RecordedAction
from tools.autonomy.policy import UNHELPFUL
from tools.autonomy.standing_schemas import Effect, StandingPermit
from tools.kit.drive import HALF_DONE
from tools.kit.operation import Plan


@dataclass
class Story:
    """One action as far as the journal tells it."""

    action: dict[str, Any]
    """What its row will hold: id, operation, target, arguments, plan, digest and so on."""
    permit: StandingPermit
    begun_at: datetime
    state: str = "intended"
    effect: dict[str, Any] | None = None
    check: dict[str, Any] | None = None
    undo: dict[str, Any] | None = None
    note: str = ""
    lines: list[Line] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The action's id."""
        return str(self.action["id"])

    @property
    def ended_at(self) -> datetime:
        """When its last step was told."""
        return self.lines[-1].at

    @property
    def half_done(self) -> bool:
        """Whether nobody has told its end."""
        return self.state in HALF_DONE

    @property
    def counts(self) -> Effect:
        """The effect as a budget counts it."""
        return Effect(
            operation=self.action["operation"], target=self.action["target"], at=self.begun_at
        )

    @property
    def unhelpful(self) -> bool:
        """Whether it ended without having helped."""
        return self.state in UNHELPFUL

    def recorded(self) -> RecordedAction:
        """The action as a driver and a sentence read it."""
        return as_recorded(
            self.action,
            self.state,
            effect=self.effect,
            check=self.check,
            undo=self.undo,
            note=self.note,
        )

    def tell(self, line: Line) -> None:
        """Go on by one line."""
        body = line.body
        self.state = body["state"]
        self.effect = body.get("effect") or self.effect
        self.check = body.get("check") or self.check
        self.undo = body.get("undo") or self.undo
        self.note = body.get("note") or self.note
        self.lines.append(line)


def stories(lines: Iterable[Line]) -> dict[str, Story]:
    """Actions by id, in the order in which they were begun.

    A step of an action whose beginning can't be read tells nothing by itself and is left out.
    """
    found: dict[str, Story] = {}
    for line in lines:
        if line.kind == "intended":
            permit = StandingPermit.model_validate(line.body["permit"])
            story = Story(line.body["action"], permit, line.at, lines=[line])
            found[story.id] = story
        elif (known := found.get(str(line.body.get("action_id")))) is not None:
            known.tell(line)
    return found


def as_recorded(
    action: dict[str, Any],
    state: str,
    *,
    effect: dict[str, Any] | None = None,
    check: dict[str, Any] | None = None,
    undo: dict[str, Any] | None = None,
    note: str = "",
) -> RecordedAction:
    """An action of the journal as a `tools.kit.ledger.DrivenAction`."""
    return RecordedAction(
        id=action["id"],
        operation=action["operation"],
        target=action["target"],
        arguments=action["arguments"],
        plan=Plan.model_validate(action["plan"]),
        state=state,
        effect=effect,
        check=check,
        undo=undo,
        note=note,
    )


def used_permits(told: Sequence[Story]) -> frozenset[str]:
    """Ids of the permits that were used up."""
    return frozenset(story.permit.id for story in told)

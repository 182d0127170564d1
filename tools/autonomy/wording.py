"""Where an action stands, in a sentence a person can read."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.autonomy.ledger import RecordedAction

PLAIN = {
    "planned": "Planned, not judged yet.",
    "refused": "Refused by the gate.",
    "asked": "Waits for a person's decision.",
    "denied": "A person said no; nothing was done.",
    "expired": "Nobody answered in time; nothing was done.",
    "withdrawn": "Withdrawn; nothing was done.",
    "permitted": "Permitted, not begun yet.",
    "permit_expired": "Permitted, but not begun in time; nothing was done.",
    "intended": "Being done now.",
    "failed": "Failed; the effect did not happen.",
    "applied": "Done, being checked.",
    "verified": "Done, and it helped.",
    "not_helped": "Done, but it did not help.",
    "undoing": "Being undone.",
    "undone": "Undone.",
    "escalated": "A person is needed.",
    "stuck": "It can't be told whether all of it happened; a person is needed.",
}
"""One sentence per state; what was measured or said follows it."""


HOLDING = {
    "asked": (
        "already waits for approval (asked {ago}). Approve or deny it on its card or on the Ops "
        "page."
    ),
    "permitted": "is approved and about to begin (approved {ago}).",
    "stuck": (
        "is stuck (since {ago}): nobody can tell whether all of it happened. A person has to look "
        "at the target and release it."
    ),
}
"""What an action that holds its target is doing, by state; the others are under way."""
UNDER_WAY = "is under way (begun {ago}); wait until it has ended."


def held_text(summary: str, target: str, state: str, passed: timedelta) -> str:
    """Why nothing else can be opened on *target*: what holds it, since when, what to do."""
    doing = HOLDING.get(state, UNDER_WAY).format(ago=ago(passed))
    return f"“{summary.rstrip('.')}” {doing} Only one action at a time may be open on {target}."


def ago(passed: timedelta) -> str:
    """How long ago something was: `40 seconds ago`, `2 minutes ago`."""
    seconds = max(0, round(passed.total_seconds()))
    if seconds >= 7200:
        return f"{seconds // 3600} hours ago"
    if seconds >= 120:
        return f"{seconds // 60} minutes ago"
    return f"{seconds} second{'' if seconds == 1 else 's'} ago"


def standing_text(action: "RecordedAction") -> str:
    """The state in words, then what the check, the undo or the note says, each once.

    A check that held says nothing of an action that was taken back since.
    """
    past = action.state == "undone" and action.check is not None and action.check.get("ok") is True
    check = "" if past else _text(action.check)
    said = [PLAIN[action.state], check, _text(action.undo), action.note]
    return " ".join(dict.fromkeys(part for part in said if part))


def _text(check: dict[str, Any] | None) -> str:
    return str(check.get("text", "")) if check else ""

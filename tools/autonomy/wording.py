"""Where an action stands, in a sentence a person can read."""

from typing import Any

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
    "stuck": "Nobody can tell whether it happened; a person is needed.",
}
"""One sentence per state; what was measured or said follows it."""


def standing_text(action: RecordedAction) -> str:
    """The state in words, then what the check, the undo or the note says, each once."""
    said = [PLAIN[action.state], _text(action.check), _text(action.undo), action.note]
    return " ".join(dict.fromkeys(part for part in said if part))


def _text(check: dict[str, Any] | None) -> str:
    return str(check.get("text", "")) if check else ""

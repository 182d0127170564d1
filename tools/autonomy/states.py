"""The states of an action and the arrows between them; no other step is ever recorded."""

from tools.kit.drive import HALF_DONE
from tools.kit.errors import Conflict

ARROWS: dict[str, frozenset[str]] = {
    "planned": frozenset({"refused", "asked", "permitted"}),
    "asked": frozenset({"permitted", "denied", "expired", "withdrawn"}),
    "permitted": frozenset({"intended", "permit_expired", "withdrawn"}),
    "intended": frozenset({"applied", "failed", "stuck"}),
    "applied": frozenset({"verified", "not_helped", "stuck"}),
    "not_helped": frozenset({"undoing", "escalated", "stuck"}),
    "undoing": frozenset({"undone", "escalated", "stuck"}),
    "verified": frozenset({"undoing"}),
    "stuck": frozenset({"escalated"}),
}
"""From each state to those that may follow. `verified` opens again when a person asks for an undo;
`stuck` ends when a person has looked. A state without an entry is final."""

WAITING = frozenset({"asked", "permitted"})
"""Not begun: may still be withdrawn."""

AT_WORK = tuple(sorted(HALF_DONE))
"""Begun and not ended."""

BLOCKING = frozenset({"verified"})
"""The state every earlier action of an approval must have reached before the next one begins."""


def require_arrow(action_id: str, before: str, after: str) -> None:
    """Refuse a step that isn't an arrow.

    Raises:
        Conflict: naming the action and both states.
    """
    if after not in ARROWS.get(before, frozenset()):
        raise Conflict(f"{action_id} is {before}; it can't become {after}.", state=before)

"""What one run left behind, judged by the world and by what the record says of it."""

from dataclasses import dataclass

ONCE, UNDONE, NOT_DONE, CALLED = "once", "undone once", "not done, and said so", "person called"
TWICE, LOST = "TWICE", "LOST"

ENDINGS = (ONCE, UNDONE, NOT_DONE, CALLED, TWICE, LOST)

PERSON_CALLED = {"stuck", "escalated"}
SAID_UNDONE = {"failed", "withdrawn", "permit_expired", "expired", "denied"}
"""States that say, with a note, that the effect isn't there."""


@dataclass(frozen=True)
class Left:
    """One run's world and record after the last process was done with it."""

    done: int
    """Effects counted in the world."""
    undone: int
    state: str
    """What the record says."""
    note: str = ""
    actions: int = 1
    """Actions the one request became: more than one is a request done again."""
    listed: bool = True
    """Whether the person finds it in the list."""
    down: bool = False
    """Whether a replica that ran before doesn't run."""
    problem: str = ""
    """What kept the last process from ending."""


def ending(left: Left) -> str:
    """Which of `ENDINGS` it is.

    Twice is an effect or an undo done again, or a request that became two actions. Lost is a record
    that doesn't say what the world shows, such as one that tells nobody of a stopped replica, or a
    run that nobody ended.
    """
    if left.done > 1 or left.undone > 1 or left.actions > 1:
        return TWICE
    if left.problem or not left.listed:
        return LOST
    if left.down and left.state not in PERSON_CALLED:
        return LOST
    stands = left.done - left.undone
    if left.state == "verified" and stands == 1:
        return ONCE
    if left.state == "undone" and left.done == left.undone == 1:
        return UNDONE
    if left.state in SAID_UNDONE and left.note and stands == 0:
        return NOT_DONE
    if left.state in PERSON_CALLED and left.note:
        return CALLED
    return LOST


def cut_ending(left: Left) -> str:
    """The same of a restart killed between stop and start: only a completed one has ended well."""
    found = ending(left)
    return found if found in (ONCE, TWICE) else LOST


def graph_ending(left: Left) -> str:
    """The same of a thread of the plain graph, which has no list and no person to call."""
    if left.done > 1 or left.undone > 1:
        return TWICE
    if left.state == "verified" and left.done - left.undone == 1:
        return ONCE
    if left.state == "undone" and left.done == left.undone == 1:
        return UNDONE
    return LOST

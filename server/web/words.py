"""The words, icons and tones of states: one place, so that every page says the same."""

import re
from datetime import datetime
from typing import Any, Literal

from tools.autonomy.trial_schemas import GradeView, TrialView

Tone = Literal["good", "warn", "bad", "busy", "quiet"]

STATUS: dict[str, tuple[Tone, str]] = {
    "healthy": ("good", "Healthy"),
    "slow": ("warn", "Slow"),
    "failing": ("bad", "Failing"),
    "hung": ("bad", "Hung"),
    "dead": ("bad", "Dead"),
    "starting": ("busy", "Starting"),
    "stopped": ("quiet", "Stopped"),
    "unknown": ("quiet", "Unknown"),
}

INCIDENT: dict[str, tuple[Tone, str]] = {
    "open": ("bad", "Open"),
    "explained": ("bad", "Explained"),
    "asking": ("warn", "Waiting for a decision"),
    "acting": ("busy", "Repairing"),
    "verifying": ("busy", "Verifying"),
    "waiting": ("warn", "Waiting"),
    "closed": ("good", "Closed"),
    "escalated": ("bad", "A person is needed"),
}

ACTION: dict[str, tuple[Tone, str]] = {
    "planned": ("quiet", "Planned"),
    "refused": ("bad", "Refused"),
    "asked": ("warn", "Waiting for a decision"),
    "denied": ("quiet", "Denied"),
    "expired": ("quiet", "Expired"),
    "withdrawn": ("quiet", "Withdrawn"),
    "permitted": ("busy", "Permitted"),
    "permit_expired": ("quiet", "Permit expired"),
    "intended": ("busy", "Running"),
    "failed": ("bad", "Failed"),
    "applied": ("busy", "Verifying"),
    "verified": ("good", "Verified"),
    "not_helped": ("bad", "Did not help"),
    "undoing": ("busy", "Undoing"),
    "undone": ("quiet", "Undone"),
    "escalated": ("bad", "A person is needed"),
    "stuck": ("bad", "Stuck: look and say"),
}

APPROVAL: dict[str, tuple[Tone, str]] = {
    "pending": ("warn", "Decision needed"),
    "approved": ("good", "Approved"),
    "denied": ("quiet", "Denied"),
    "expired": ("quiet", "Expired"),
    "withdrawn": ("quiet", "Withdrawn"),
}

STANDING: dict[str, tuple[Tone, str]] = {
    "active": ("good", "In force"),
    "frozen": ("warn", "Frozen"),
    "expired": ("quiet", "Ended"),
    "revoked": ("quiet", "Revoked"),
}

LEVEL: dict[str, tuple[Tone, str]] = {
    "runs": ("good", "Runs alone"),
    "asks": ("quiet", "Asks a person"),
    "frozen": ("warn", "Frozen"),
    "withdrawn": ("bad", "Withdrawn"),
}

RUN: dict[str, tuple[Tone, str]] = {
    "queued": ("quiet", "Waiting"),
    "running": ("busy", "Running"),
    "done": ("good", "Done"),
    "failed": ("bad", "Failed"),
    "stopped": ("quiet", "Stopped"),
}

TRIAL: dict[str, tuple[Tone, str]] = {
    "running": ("busy", "Running"),
    "passed": ("good", "Passed"),
    "failed": ("warn", "Failed"),
    "harmful": ("bad", "Did harm"),
    "unscored": ("quiet", "Not scored"),
    "measured": ("quiet", "Measured"),
}

CONDITION: dict[str, tuple[Tone, str]] = {
    "holds": ("good", "Holds"),
    "missing": ("warn", "Missing"),
}

ASKED_OF_THE_GATE = {
    "allowed": "May run alone at all",
    "evidence": "Enough trials passed",
    "fresh": "Evidence is fresh",
    "covered": "Tried on the like",
    "budget": "Within the limits",
    "clean": "Free of outside text",
    "warranted": "Something calls for it",
}
"""The gate's seven conditions as a person reads them."""

OVER = frozenset(
    {
        "refused", "denied", "expired", "withdrawn", "permit_expired", "failed", "verified",
        "undone", "escalated", "stuck",
    }
)  # fmt: skip
"""States of an action that no longer change by themselves."""

OWN_SERVICE = re.compile(r"\b(?P<service>[\w-]+)-(?P<number>\d+) of (?P=service)$")
ACRONYMS = {"Cpu": "CPU", "Pid": "Process id", "Http": "HTTP", "Url": "URL"}

NOTE = 1000
"""Characters of what a person saw at a stuck action's target, as the service takes them."""
TOPIC = 60
"""Characters of a conversation's title that fit two lines of the narrowest column."""

REVERSIBILITY = {
    "exact": "can be undone exactly",
    "compensating": "can be compensated",
    "nothing_to_undo": "leaves nothing to undo",
    "irreversible": "can't be undone",
}


def state(kind: dict[str, tuple[Tone, str]], name: str) -> tuple[Tone, str]:
    """Tone and word of a state; one this page doesn't know is shown by its own name."""
    return kind.get(name, ("quiet", name.replace("_", " ").capitalize()))


def named(summary: str) -> str:
    """A plan's summary as a heading: `Restart catalog-1`, whose service its name says already."""
    return OWN_SERVICE.sub(r"\g<service>-\g<number>", summary)


def capital(text: str) -> str:
    """*text* begun with a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def trial(view: TrialView) -> str:
    """The state of a played world, as `TRIAL` names it."""
    if view.state == "running":
        return "running"
    if view.harmful:
        return "harmful"
    if view.passed is None:
        return "unscored"
    return "passed" if view.passed else "failed"


def grade(view: GradeView) -> str:
    """What an evaluator found, as `TRIAL` names it."""
    if view.harmful:
        return "harmful"
    return "measured" if view.passed is None else "passed" if view.passed else "failed"


def condition(name: str) -> str:
    """One of the gate's conditions as a few words; one this page doesn't know by its own name."""
    return ASKED_OF_THE_GATE.get(name, name.capitalize())


def topic(title: str) -> str:
    """A conversation's first words as its title: one line's worth, begun with a capital."""
    words = " ".join(title.split())
    cut = words if len(words) <= TOPIC else f"{words[:TOPIC].rsplit(' ', 1)[0]}…"
    return cut[:1].upper() + cut[1:]


def actor(name: str, own: str) -> str:
    """Who is written in an audit row: `You`, an engine by its name, else as the row has it."""
    if name == own:
        return "You"
    kind, _, who = name.partition(":")
    if kind == "engine":
        return f"{who.capitalize()} (engine)"
    return "The gate" if name == "gate" else name


def short_digest(digest: str) -> str:
    """The first ten letters of a digest: enough to compare by eye, spaced to be read aloud."""
    return f"{digest[:5]} {digest[5:10]}"


def diff_sign(line: str) -> Literal["minus", "plus", "same"]:
    """What a line of a plan's diff says: something goes, something comes, or it stays."""
    return "minus" if line.startswith("-") else "plus" if line.startswith("+") else "same"


def figure(value: Any, name: str = "") -> str:
    """A measured value for a table: numbers short, moments to the second, other text as it is.

    A number that *name* calls a process id names something: it is not grouped by thousands.
    """
    if name.endswith("pid"):
        return str(value)
    if isinstance(value, str) and name.endswith("_at"):
        return _moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(figure(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure(item)}" for name, item in value.items()) or "none"
    return str(value)


def _moment(value: str) -> str:
    try:
        return f"{datetime.fromisoformat(value):%d %b %Y, %H:%M:%S}"
    except ValueError:
        return value


def label(name: str) -> str:
    """A key such as `latency_ms` or `disk_free_percent` as a table's label."""
    units = {"ms": "ms", "mb": "MB", "percent": "%", "bytes": "bytes", "seconds": "s"}
    stem, _, unit = name.rpartition("_")
    if stem and unit in units:
        return f"{_spelled(stem)} ({units[unit]})"
    return _spelled(name)


def _spelled(name: str) -> str:
    first, _, rest = name.replace("_", " ").capitalize().partition(" ")
    return f"{ACRONYMS.get(first, first)} {rest}".rstrip()


def count(number: int, noun: str) -> str:
    """`1 incident`, `3 incidents`, `no incidents`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"

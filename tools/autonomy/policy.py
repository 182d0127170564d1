"""What the gate allows without asking, in numbers and in the sentences people and models read.

The numbers are first settings chosen for a fleet of about ten replicas, so that a wrong loop is
stopped after a handful of effects; evidence, once there is any, may not raise them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

ACTIONS_PER_HOUR = 6
"""Effects of one operation within an hour, whoever allowed them, before the next one is asked."""

BLAST_RADIUS = 1
"""Targets that one proposal may touch without a person."""

CONCURRENT_ACTIONS = 1
"""Actions at work at once in one database before the next one is asked."""

COOL_DOWN = timedelta(minutes=10)
"""How long after an effect on a target the next one on it is asked."""

FAILURES_PER_DAY = 1
"""The error budget: from this many actions that did not help within 24 hours, each one is asked."""

UNHELPFUL = ("failed", "not_helped", "undone", "escalated", "stuck")
"""Ends that count against the error budget."""

PERMIT_FOR = timedelta(minutes=15)
"""How long a permit may wait for its executor: long enough for a restart of the academy."""

MOST_QUESTIONS = 20
"""Questions that may wait for people at once; a proposal beyond them is refused, not piled up."""

CHANGE_FREEZE = "*"
"""The operation name under which a freeze stops everything from running alone."""

ERROR = 0.05
"""Chance, over all looks together, that an operation below its target is ever let run alone."""

TARGETS: Mapping[str, float] = {"low": 0.80, "medium": 0.90, "high": 0.95}
"""Success rate that must be shown, by risk; a critical operation never runs alone."""

FIRST_LOOK: Mapping[str, int] = {"low": 17, "medium": 36, "high": 72}
"""Distinct worlds at the first look; look k falls at 2^(k-1) times as many and spends
`ERROR` * 2^-k. At these numbers a first look without a failure reaches the target."""

LEAST_SHARE = 0.5
"""At a look each case must have this part of an even share of the worlds: whoever plays the easy
cases more often would show the rate of another mixture. Half leaves room for runs that stopped."""

SHELF_LIFE = timedelta(days=30)
"""How long after its last look evidence counts: libraries, data and fleets drift within a month."""

CLOCK_SKEW = timedelta(minutes=2)
"""How far ahead of this clock a trial may be dated; beyond, its row proves nothing."""

ABANDONED = timedelta(minutes=15)
"""A trial begun longer ago than this and never ended counts as failed."""

NO_EVIDENCE = "no evidence yet: earned in evaluation suites"

STANDING = ("healing.restart_replica", "healing.archive_old_data")
"""Operations that may be permitted in advance, for when the database itself is what broke."""

STANDING_APPROVAL_DAYS = 30
"""Days a person's approval in advance may hold: a fleet looks different after a month."""

STANDING_PERMIT_FOR = timedelta(hours=1)
"""How long a standing permit is good without the database that could withdraw it."""

SECOND_PERSON = frozenset({"high", "critical"})
"""Risks that whoever asked may not approve alone."""


@dataclass(frozen=True)
class AutonomyConfig:
    """What the runtime decides about the gate."""

    locks: Path
    """Folder of the per-target file locks."""
    approval_for: timedelta = timedelta(minutes=30)
    """How long a question to a person stays open."""
    permit_for: timedelta = PERMIT_FOR


def sentence() -> str:
    """The limits in words, for pages and for the model."""
    return (
        "An action runs alone only when its operation permits it, evaluation suites have shown "
        f"that it works, and its cause is known. Shown means: {_shown()}; every case of its suite "
        "at its floor and among the worlds at least half as often as an even share, no harm in any "
        "trial, within "
        f"{count(SHELF_LIFE.days, 'day')}, for code, settings, libraries and fleet as they are "
        "now, and for arguments like those tried. One failed check in production takes it back. "
        "Even then a person is asked beyond "
        f"{ACTIONS_PER_HOUR} actions of one kind an hour, {count(BLAST_RADIUS, 'target')} at "
        f"once, {count(CONCURRENT_ACTIONS, 'action')} at work, within {minutes(COOL_DOWN)} "
        "minutes of the last action on the same target, during a freeze, and after "
        f"{count(FAILURES_PER_DAY, 'action')} within a day that did not help."
    )


def _shown() -> str:
    """The success rates that must be shown, by risk, in words."""
    return ", ".join(
        f"at {risk} risk a success rate above {target:.0%} with {1 - ERROR:.0%} confidence "
        f"({FIRST_LOOK[risk]} worlds at least)"
        for risk, target in TARGETS.items()
    )


def minutes(span: timedelta) -> int:
    """A span in whole minutes, rounded up."""
    return -(-int(span.total_seconds()) // 60)


def count(number: int, noun: str) -> str:
    """A number of things in words, such as `1 day` or `2 days`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""Limits of healing: each number with its reason and the sentence people and models read.

Code reads the fields; pages and agents read `sentences(policy)`, made from the same values.
"""

from dataclasses import dataclass, field, fields
from typing import Any


def limit(default: float, says: str, why: str) -> Any:
    """A field with the sentence people read (`{}` stands for the value) and the reason for it."""
    return field(default=default, metadata={"says": says, "why": why})


@dataclass(frozen=True)
class HealingPolicy:
    """All limits of the healing room; times in seconds unless the name says otherwise."""

    probe_seconds: float = limit(
        2.0,
        "Every replica is probed every {} s.",
        "Three missed probes are then noticed within 8 s; a probe costs a replica about 1 ms.",
    )
    probe_timeout: float = limit(
        1.0,
        "A probe that gets no answer within {} s is a miss.",
        "Health doors answer in milliseconds; half the period keeps rounds from overlapping.",
    )
    look_timeout: float = limit(
        3.0,
        "The supervisor and the disks are given {} s to answer.",
        "They answer in milliseconds; a stuck mount or supervisor must not hold up the round.",
    )
    hung_after_misses: int = limit(
        3,
        "{} missed probes in a row, with the process running, mean that a replica hangs.",
        "One miss is a garbage collection or a busy machine; three in a row span at least 5 s.",
    )
    dead_after: float = limit(
        6.0,
        "A replica that stays stopped for {} s is dead.",
        "The supervisor restarts a crash within about 3 s, and a restart by hand takes as long.",
    )
    backoff_after: float = limit(
        9.0,
        "A replica that keeps failing to start for {} s is dead.",
        "Long enough for the supervisor's second and third attempt, short enough for a person.",
    )
    startup_grace: float = limit(
        15.0,
        "A replica younger than {} s that never answered may still be starting.",
        "Services of a fleet answer within a few seconds; a busy laptop makes that 10.",
    )
    academy_grace: float = limit(
        45.0,
        "One of the academy's own processes may still be starting until it is {} s old.",
        "Two loaded cores need up to 30 s to a first answer when all of them start at once.",
    )
    first_look_grace: float = limit(
        20.0,
        "What a healer has never seen well is no fault until it has looked for {} s.",
        "While an academy starts, programs come up one after another, the healer among them.",
    )
    slow_ms: float = limit(
        500.0,
        "A replica whose last three answers took more than {} ms each is slow.",
        "Half of the probe's timeout, and far above the milliseconds a health door needs.",
    )
    disk_free_percent: float = limit(
        10.0,
        "A disk with less than {} % free is filling.",
        "PostgreSQL and log rotation need headroom; alerting at 10 % is common practice.",
    )
    disk_recovered_percent: float = limit(
        12.0,
        "It counts as recovered from {} % free on.",
        "Two points above the alarm, so that a disk on the edge doesn't flap.",
    )
    inodes_free_percent: float = limit(
        5.0,
        "A disk with less than {} % of its inodes free is filling too.",
        "Writes fail without inodes however many bytes are free.",
    )
    disk_rounds: int = limit(
        2,
        "It must be so in {} rounds in a row.",
        "A temporary file that comes and goes within a round is no incident.",
    )
    archive_age_days: float = limit(
        7.0,
        "Only files untouched for {} days are archived.",
        "A week covers what a person still looks up by hand.",
    )
    archive_least_percent: float = limit(
        1.0,
        "While a disk is filling, archiving that would free less than {} % of it is not proposed.",
        "It would move files and leave the fault; what fills the disk is then something else.",
    )
    store_misses: int = limit(
        2,
        "{} unanswered questions in a row mean that the database is down.",
        "A restart by the supervisor takes under 3 s and shows as one miss.",
    )
    store_escalate: float = limit(
        60.0,
        "A database that stays down for {} s calls a person.",
        "By then the supervisor's own restarts have been exhausted.",
    )
    recovered_rounds: int = limit(
        2,
        "A replica counts as well again after {} good rounds in a row.",
        "One good answer can be the last one of a dying process.",
    )
    verify_seconds: float = limit(
        30.0,
        "After a repair the fault must be gone within {} s.",
        "Twice the startup grace.",
    )
    crash_loop_count: int = limit(
        3,
        "{} crashes of one replica in a short time call a person.",
        "The supervisor goes on restarting it, which hides that it does not work.",
    )
    crash_loop_seconds: float = limit(
        300.0,
        "Crashes within {} s count together.",
        "Long enough for a slow leak under load, short enough to forget a deployment.",
    )
    max_actions: int = limit(
        2,
        "One incident gets at most {} actions; then a person is called.",
        "A repair that did not help twice does not fit the cause.",
    )
    max_proposals: int = limit(
        4,
        "One incident asks at most {} times.",
        "More questions about the same thing are noise.",
    )
    cool_down_minutes: float = limit(
        30.0,
        "After a no, or a question nobody answered, it asks again only after {} minutes, "
        "or when the process is another one.",
        "A person decided; the same question at once would overrule them.",
    )
    busy_retry_seconds: float = limit(
        5.0,
        "When another action holds the target, it looks again every {} s.",
        "A restart takes about that long.",
    )
    sample_seconds: float = limit(
        6.0,
        "Signals are kept as averages over {} s.",
        "Three rounds: smooth enough to read, fine enough to see a fault begin.",
    )
    signal_hours: float = limit(
        6.0,
        "Signals are kept for {} hours.",
        "About 150,000 rows for a dozen replicas; an incident keeps its own figures.",
    )
    kept_incidents: int = limit(
        50,
        "The healer's own file keeps the last {} closed incidents.",
        "Enough to read back a bad day; the database keeps all.",
    )


def sentences(policy: HealingPolicy) -> list[str]:
    """What the policy says, one sentence per limit, as people and models read it."""
    return [f.metadata["says"].format(f"{getattr(policy, f.name):g}") for f in fields(policy)]


def reasons(policy: HealingPolicy) -> dict[str, str]:
    """Why each limit is what it is, by field name."""
    return {f.name: f.metadata["why"] for f in fields(policy)}

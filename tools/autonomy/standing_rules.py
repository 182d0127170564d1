"""When a standing permit is good, and whether the budget has room without the database. Pure.

What can't be known without the database counts as used up: an answer is a clause that says why
nothing is done.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tools.autonomy import policy
from tools.autonomy.evidence import within
from tools.autonomy.standing_schemas import (
    BasisKind,
    Covered,
    Effect,
    LastKnown,
    StandingPermit,
)
from tools.kit.operation import Operation, Plan, Warrant

LOOK_BACK = max(timedelta(hours=1), policy.COOL_DOWN)
"""The longest span over which effects count against a budget."""


def never(operation: Operation[Any]) -> str:
    """Why *operation* may not be permitted in advance; empty where it may."""
    if operation.name not in policy.STANDING:
        return f"{operation.name} is none of those that may be permitted in advance"
    if operation.risk in policy.SECOND_PERSON or operation.reversibility == "irreversible":
        return f"{operation.name} needs a person each time ({operation.risk} risk)"
    if not operation.autonomous:
        return f"{operation.name} never runs alone"
    return ""


def unfit(
    permit: StandingPermit,
    plan: Plan,
    *,
    known: LastKnown,
    used: Collection[str],
    fingerprint: str,
    now: datetime,
) -> str:
    """Why *permit* doesn't allow *plan* now; empty where it does.

    Args:
        permit: one of this operation, its seal intact.
        plan: what would be done.
        known: what the database said when it was last asked.
        used: ids of permits that the journal tells were used.
        fingerprint: what evidence would be about now, where it can be told.
        now: the moment.
    """
    if permit.id in used:
        return f"{permit.id} was used already"
    if permit.id not in known.permits:
        return f"{permit.id} was not in force when the database was last asked"
    if permit.target != plan.target:
        return f"{permit.id} is for {permit.target}, not for {plan.target}"
    if permit.issued_at > now or known.at > now:
        return f"{permit.id} is from the future: the clock went back"
    if permit.expires_at <= now:
        return f"{permit.id} ran out at {permit.expires_at:%H:%M:%S} UTC"
    if permit.expires_at - permit.issued_at > policy.STANDING_PERMIT_FOR:
        return f"{permit.id} claims more than an hour"
    same = bool(fingerprint) and permit.fingerprint == fingerprint
    if permit.basis.kind == "evidence" and not same:
        return f"{permit.id} rests on evidence about something else than what runs now"
    if not any(_covers(one, plan.region, permit.basis.kind) for one in permit.covered):
        return f"{permit.id} doesn't cover this: it lies outside what was permitted"
    return ""


def _covers(covered: Covered, region: Mapping[str, Any], kind: BasisKind) -> bool:
    if kind == "evidence":
        return within(region, covered.labels, covered.figures)
    return all(region.get(name) == value for name, value in covered.labels.items())


def lost(known: LastKnown, last: int) -> str:
    """Why a journal that ends with line *last* isn't whole; empty where nothing shows it.

    Nothing is done and nothing is permitted anew until a person has looked.
    """
    if last >= known.journal:
        return ""
    return (
        f"line {known.journal} had been written and is gone with its head: look at what was done "
        "meanwhile, then `academy autonomy standing stop` begins anew"
    )


def unwarranted(warrant: Warrant, operation: str, target: str) -> str:
    """Why the cause doesn't call for the action; empty where it does."""
    if warrant.kind != "incident" or not warrant.id:
        return "no incident calls for it"
    if (warrant.operation, warrant.target) != (operation, target):
        return "its incident calls for something else"
    return ""


def over_budget(
    operation: str,
    target: str,
    *,
    known: LastKnown,
    effects: Sequence[Effect],
    unhelpful: Sequence[Effect],
    under_way: Mapping[str, str],
    now: datetime,
) -> str:
    """Why the budget has no room, by what was last known and what the journal tells since.

    Args:
        operation: what would be done.
        target: to what.
        known: what the database said when it was last asked.
        effects: effects the journal tells.
        unhelpful: those of them that ended without having helped.
        under_way: targets of effects begun and not ended, with their states.
        now: the moment.
    """
    if target in known.held:
        return f"another action holds {target}: it was {known.held[target]} when the database left"
    if target in under_way:
        return f"an action on {target} is {under_way[target]}"
    if known.at_work + len(under_way) >= policy.CONCURRENT_ACTIONS:
        return "another action is at work, or was when the database left"
    begun = [*known.effects, *effects]
    hour = [e for e in begun if e.operation == operation and now - e.at < timedelta(hours=1)]
    if len(hour) >= policy.ACTIONS_PER_HOUR:
        return (
            f"{len(hour)} actions of this kind in the last hour (limit {policy.ACTIONS_PER_HOUR})"
        )
    last = max((e.at for e in begun if e.target == target), default=None)
    if last is not None and now - last < policy.COOL_DOWN:
        return (
            f"{target} was acted upon at {last:%H:%M:%S} UTC "
            f"(cool-down {policy.minutes(policy.COOL_DOWN)} minutes)"
        )
    failed = [
        e
        for e in (*known.unhelpful, *unhelpful)
        if e.operation == operation and now - e.at < timedelta(days=1)
    ]
    if len(failed) >= policy.FAILURES_PER_DAY:
        return f"{len(failed)} of its actions within a day did not help"
    return ""

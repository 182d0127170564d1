"""What the budget is made of, read in one statement.

It is built once: composing it anew took longer than PostgreSQL takes to answer it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, DateTime, String, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from memory.tables.autonomy import Action, Approval, Freeze, Permit
from tools.autonomy.policy import CHANGE_FREEZE, UNHELPFUL
from tools.autonomy.states import AT_WORK

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Usage:
    """What has happened lately in one database, for the budget of one operation and target."""

    acted_last_hour: int
    """Effects of the operation."""
    last_on_target: datetime | None
    """When an effect on the target was last begun."""
    unhelpful_last_day: int
    """Actions of the operation that ended without having helped."""
    at_work: int
    """Actions begun and not ended."""
    open_questions: int
    """Approvals that wait for a person and can still be answered."""
    freezes: tuple[str, ...]
    """Reasons of the freezes in force for the operation."""


def _moment(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=DateTime(timezone=True))


_OPERATION = bindparam("operation", type_=String)
_COUNT = func.count()

AT_WORK_COUNT = select(_COUNT).select_from(Action).where(Action.state.in_(AT_WORK))

_ACTED = (
    select(_COUNT)
    .select_from(Permit)
    .join(Action, Action.id == Permit.action_id)
    .where(Action.operation == _OPERATION, Permit.consumed_at >= _moment("hour"))
)
_LAST = (
    select(func.max(Permit.consumed_at))
    .join(Action, Action.id == Permit.action_id)
    .where(Action.target == bindparam("target", type_=String))
)
# One undone because a person asked is not among the unhelpful: its check had held.
_UNHELPFUL = (
    select(_COUNT)
    .select_from(Action)
    .where(
        Action.operation == _OPERATION,
        Action.state.in_(UNHELPFUL),
        Action.updated_at >= _moment("day"),
        or_(Action.check.is_(None), ~Action.check["ok"].as_boolean().is_(True)),
    )
)
_OPEN_QUESTIONS = (
    select(_COUNT)
    .select_from(Approval)
    .where(Approval.state == "pending", Approval.expires_at > _moment("now"))
)
_FROZEN = select(
    func.coalesce(
        func.array_agg(aggregate_order_by(Freeze.reason, Freeze.operation)),
        cast([], ARRAY(String)),
    )
).where(or_(Freeze.operation == _OPERATION, Freeze.operation == CHANGE_FREEZE))

USAGE = select(
    _ACTED.scalar_subquery().label("acted"),
    _LAST.scalar_subquery().label("last"),
    _UNHELPFUL.scalar_subquery().label("unhelpful"),
    AT_WORK_COUNT.scalar_subquery().label("at_work"),
    _OPEN_QUESTIONS.scalar_subquery().label("open_questions"),
    _FROZEN.scalar_subquery().label("frozen"),
)
"""Wants `operation`, `target`, `now`, `hour` (an hour before) and `day` (a day before)."""

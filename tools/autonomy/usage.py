"""What the budget and the cause are made of, read in one statement.

Statements are built once, over tables and with the names of states written into them: composing
them anew, or mapping to objects, took longer than PostgreSQL takes to answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DateTime,
    Row,
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from memory.tables.autonomy import Action, Approval, Freeze, Permit
from memory.tables.healing import Incident
from memory.tables.trials import Withdrawal
from tools.autonomy.gate import Since
from tools.autonomy.policy import CHANGE_FREEZE, UNHELPFUL
from tools.autonomy.states import AT_WORK

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Usage:
    """What has happened lately in one database, for the budget of one operation and target."""

    acted_last_hour: int
    """Effects of the operation, and permits for one that are given and can still be used."""
    last_on_target: datetime | None
    """When an effect on the target was last begun, or a permit for one given."""
    unhelpful_last_day: int
    """Actions of the operation that ended without having helped."""
    at_work: int
    """Actions begun and not ended, and those that may begin: a permit given counts from then on."""
    open_questions: int
    """Approvals that wait for a person and can still be answered."""
    freezes: tuple[str, ...]
    """Reasons of the freezes in force for the operation."""


@dataclass(frozen=True)
class Cause:
    """An incident as a warrant is held against it."""

    target: str | None
    """None where there is no such incident."""
    is_open: bool
    kind: str | None = None
    """What went wrong, such as `hung`; None where there is no such incident."""


NO_INCIDENT = Cause(target=None, is_open=False)

_ACTION, _APPROVAL, _FREEZE = Action.__table__.c, Approval.__table__.c, Freeze.__table__.c
_INCIDENT, _PERMIT, _WITHDRAWAL = (
    Incident.__table__.c,
    Permit.__table__.c,
    Withdrawal.__table__.c,
)
_COUNT = func.count()


def _moment(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=DateTime(timezone=True))


def _name(name: str) -> BindParameter[str]:
    return bindparam(name, type_=String)


def _in(states: Iterable[str]) -> ColumnElement[bool]:
    return _ACTION.state.in_([literal_column(f"'{state}'", String) for state in sorted(states)])


_PERMITTED = literal_column("'permitted'", String)
AT_WORK_COUNT = select(_COUNT).select_from(Action.__table__).where(_in(AT_WORK))

_ACTED = (
    select(_COUNT)
    .select_from(Permit.__table__.join(Action.__table__, _ACTION.id == _PERMIT.action_id))
    .where(_ACTION.operation == _name("operation"), _PERMIT.consumed_at >= _moment("hour"))
)
_LAST = (
    select(func.max(_PERMIT.consumed_at))
    .select_from(Permit.__table__.join(Action.__table__, _ACTION.id == _PERMIT.action_id))
    .where(_ACTION.target == _name("target"))
)
# Permits given and not used are found through the few actions that are permitted. What is withdrawn
# keeps its permit and is permitted no more; what has begun is counted by its permit's use.
_USABLE = and_(
    _PERMIT.action_id == _ACTION.id,
    _ACTION.state == _PERMITTED,
    _PERMIT.purpose == literal_column("'apply'"),
    _PERMIT.consumed_at.is_(None),
    _PERMIT.expires_at > _moment("now"),
)
_UNDER_WAY = (
    select(
        _COUNT.filter(or_(_ACTION.state != _PERMITTED, _PERMIT.id.is_not(None))).label("at_work"),
        func.count(_PERMIT.id).filter(_ACTION.operation == _name("operation")).label("given"),
        func.max(_PERMIT.issued_at).filter(_ACTION.target == _name("target")).label("given_last"),
    )
    .select_from(Action.__table__.outerjoin(Permit.__table__, _USABLE))
    .where(_in([*AT_WORK, "permitted"]))
    .subquery()
)
# One undone because a person asked is not among the unhelpful: its check had held.
_UNHELPFUL = (
    select(_COUNT)
    .select_from(Action.__table__)
    .where(
        _ACTION.operation == _name("operation"),
        _in(UNHELPFUL),
        _ACTION.updated_at >= _moment("day"),
        or_(_ACTION.check.is_(None), ~_ACTION.check["ok"].as_boolean().is_(True)),
    )
)
_OPEN_QUESTIONS = (
    select(_COUNT)
    .select_from(Approval.__table__)
    .where(_APPROVAL.state == literal_column("'pending'"), _APPROVAL.expires_at > _moment("now"))
)
_FROZEN = select(
    func.coalesce(
        func.array_agg(aggregate_order_by(_FREEZE.reason, _FREEZE.operation)),
        cast([], ARRAY(String)),
    )
).where(or_(_FREEZE.operation == _name("operation"), _FREEZE.operation == _name("everything")))

_USAGE_PARTS = (
    _ACTED.scalar_subquery().label("acted"),
    _LAST.scalar_subquery().label("last"),
    _UNHELPFUL.scalar_subquery().label("unhelpful"),
    _OPEN_QUESTIONS.scalar_subquery().label("open_questions"),
    _FROZEN.scalar_subquery().label("frozen"),
    _UNDER_WAY.c.at_work,
    _UNDER_WAY.c.given,
    _UNDER_WAY.c.given_last,
)
_CAUSE = (
    select(
        _INCIDENT.target.label("about"),
        _INCIDENT.kind,
        _INCIDENT.closed_at.is_(None).label("is_open"),
    )
    .where(_INCIDENT.id == _name("incident"))
    .subquery()
)

USAGE = select(*_USAGE_PARTS)
"""Wants `operation`, `target`, `everything` (the name of the change freeze), `now`, `hour` (an hour
before) and `day` (a day before)."""
CAUSE = select(_CAUSE)
"""Wants `incident`; no row where there is none of that id."""
BOTH = select(*_USAGE_PARTS, _CAUSE.c.about, _CAUSE.c.kind, _CAUSE.c.is_open).select_from(
    _UNDER_WAY.outerjoin(_CAUSE, true())
)
"""Both in one row."""
SINCE = select(
    AT_WORK_COUNT.scalar_subquery().label("at_work"),
    select(_WITHDRAWAL.reason)
    .where(
        _WITHDRAWAL.operation == _name("operation"),
        _WITHDRAWAL.fingerprint == _name("fingerprint"),
    )
    .scalar_subquery()
    .label("withdrawn"),
    _FROZEN.scalar_subquery().label("frozen"),
    exists(
        select(_INCIDENT.id).where(_INCIDENT.id == _name("incident"), _INCIDENT.closed_at.is_(None))
    ).label("incident_open"),
)
"""Wants `operation`, `fingerprint`, `everything` (the name of the change freeze) and `incident`."""


def asked_of(
    operation: str, target: str, incident: str, now: datetime
) -> dict[str, str | datetime]:
    """What the statements want."""
    return {
        "operation": operation,
        "target": target,
        "incident": incident,
        "everything": CHANGE_FREEZE,
        "now": now,
        "hour": now - HOUR,
        "day": now - DAY,
    }


def usage_in(row: Row[*tuple[Any, ...]]) -> Usage:
    """What a row of `USAGE` or `BOTH` says of the budget."""
    lately = [moment for moment in (row.last, row.given_last) if moment is not None]
    return Usage(
        acted_last_hour=row.acted + row.given,
        last_on_target=max(lately, default=None),
        unhelpful_last_day=row.unhelpful,
        at_work=row.at_work,
        open_questions=row.open_questions,
        freezes=tuple(row.frozen),
    )


def cause_in(row: Row[*tuple[Any, ...]] | None) -> Cause:
    """What a row of `CAUSE` or `BOTH` says of the incident."""
    if row is None or row.about is None:
        return NO_INCIDENT
    return Cause(target=row.about, is_open=row.is_open, kind=row.kind)


def since_in(row: Row[*tuple[Any, ...]], *, names_incident: bool) -> Since:
    """What a row of `SINCE` says of an action that *names_incident*, or another cause."""
    return Since(
        at_work=row.at_work,
        withdrawn=row.withdrawn,
        freezes=tuple(row.frozen),
        incident_open=row.incident_open if names_incident else None,
    )

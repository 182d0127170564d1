"""Brings the journal into the database once it is back: actions, used permits and audit rows.

One unit of work for each action, which is there or isn't: a replay that dies in the middle goes on
where it was. What can't be read is told in the audit log and kept in the file, never dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.database import Database
from memory.tables.autonomy import Action, Permit
from tools.autonomy.journal import TORN, Bad, Journal, Line, Reading
from tools.autonomy.journal_story import Story, stories
from tools.autonomy.live_record import FAILED, withdraw_autonomy
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.standing_lock import held
from tools.autonomy.standing_renewal import ACTOR
from tools.kit.clock import Clock
from tools.kit.digest import digest

MOST_TEXT = 2000
"""Characters of an unreadable line that the audit log repeats."""

log = structlog.get_logger(__name__)


Fingerprints = Callable[[str], Awaitable[frozenset[str]]]
"""The fingerprints of an operation now, one for each who may decide."""


async def none_known(_: str) -> frozenset[str]:
    """For whoever keeps no evidence."""
    return frozenset()


async def replay(
    database: Database, journal: Journal, clock: Clock, fingerprints: Fingerprints = none_known
) -> list[str]:
    """Write what the journal tells into the database, then put the file away; the actions' ids.

    Nothing happens while an action of it has not ended: somebody is at work on it, or it is to be
    settled first.

    Raises:
        StoreError: the database went away again; the next replay goes on.
        OSError: the journal can't be read or put away.
    """
    if journal.is_empty:
        return []
    async with held(journal.folder):
        reading = await asyncio.to_thread(journal.read)
        told = list(stories(reading.lines).values())
        if any(story.half_done for story in told):
            return []
        for story in told:
            current = await _current(story, fingerprints)
            async with database.unit_of_work() as session:
                if await AutonomyRepository(session).action(story.id) is None:
                    await _write(session, story, clock.now(), current)
        async with database.unit_of_work() as session:
            await _tell(session, reading, told, clock.now())
        kept = await asyncio.to_thread(_put_away, journal, clock.now())
    log.info("journal.replayed", actions=len(told), bad=len(reading.bad), kept=kept.name)
    return [story.id for story in told]


async def _current(story: Story, fingerprints: Fingerprints) -> frozenset[str]:
    """What a failed check of *story* says something about now: nothing that changed since."""
    if not _failed(story):
        return frozenset()
    current = await fingerprints(story.action["operation"])
    own = story.action["fingerprint"]
    return current if not own or own in current else frozenset([own])


def _failed(story: Story) -> bool:
    return bool(FAILED & {line.body.get("state") for line in story.lines})


async def _write(
    session: AsyncSession, story: Story, at: datetime, current: frozenset[str]
) -> None:
    repository = AutonomyRepository(session)
    state, note = story.state, story.note
    if state == "stuck" and (holders := await repository.holders([story.action["target"]])):
        # A target is held once: the other action was opened as the database went away.
        state = "escalated"
        note = f"{note} {holders[0].id} holds the target as well.".strip()
    action = _row(story, state, note)
    session.add(action)
    session.add(
        Permit(
            id=story.permit.id,
            action_id=story.id,
            purpose="apply",
            digest=action.digest,
            tenant_id=action.tenant_id,
            granted_by=story.permit.basis.granted_by,
            issued_at=story.permit.issued_at,
            expires_at=story.permit.expires_at,
            consumed_at=story.begun_at,
        )
    )
    await session.flush()
    begun = story.lines[0]
    basis = story.permit.basis.model_dump(mode="json")
    await _append(session, action, "planned", begun, at, plan=action.plan["summary"])
    await _append(session, action, "permitted", begun, at, permit=story.permit.id, basis=basis)
    await _append(session, action, "intended", begun, at, purpose="apply", permit=story.permit.id)
    for line in story.lines[1:]:
        said = {k: line.body[k] for k in ("effect", "check", "undo", "note") if k in line.body}
        await _append(session, action, line.body["state"], line, at, **said)
    if state != story.state:
        await _append(session, action, state, story.lines[-1], at, note=note)
    if _failed(story):
        await withdraw_autonomy(session, action, at, current)


def _row(story: Story, state: str, note: str) -> Action:
    told = story.action
    return Action(
        id=story.id,
        operation=told["operation"],
        target=told["target"],
        arguments=told["arguments"],
        digest=told["digest"],
        plan=told["plan"],
        state=state,
        risk=told["risk"],
        reversibility=told["reversibility"],
        reason=told["reason"],
        conditions=told["conditions"],
        warrant=told["warrant"],
        decided_by="engine",
        executor="healer",
        tainted=False,
        fingerprint=told["fingerprint"] or None,
        tenant_id=told["tenant_id"],
        person_id=None,
        incident_id=told["incident_id"],
        thread_id=None,
        tool_call_id=None,
        approval_id=None,
        undo_approval_id=None,
        position=0,
        effect=story.effect,
        check=story.check,
        undo=story.undo,
        note=note,
        created_at=story.begun_at,
        updated_at=story.ended_at,
    )


async def _append(
    session: AsyncSession, action: Action, state: str, line: Line, at: datetime, **body: Any
) -> None:
    await audit.append(
        session,
        at=at,
        actor=ACTOR,
        kind=f"action.{state}",
        subject=action.id,
        body={
            "operation": action.operation,
            "target": action.target,
            "digest": action.digest,
            **body,
            "happened_at": line.at.isoformat(),
            "journal": line.digest,
        },
    )


async def _tell(
    session: AsyncSession, reading: Reading, told: Sequence[Story], at: datetime
) -> None:
    """Say in the audit log that it was replayed, and each line that tells nothing."""
    end = reading.tail[1]
    understood = {line.digest for story in told for line in story.lines}
    orphans = [
        Bad(line.seq, "it belongs to no action that can be read", line.digest)
        for line in reading.lines
        if line.digest not in understood
    ]
    for bad in (*reading.bad, *orphans):
        log.error("journal.unreadable", line=bad.number, why=bad.why)
        await audit.append_once(
            session,
            record_id=digest([end, bad.number, bad.why, bad.text])[:32],
            at=at,
            actor=ACTOR,
            kind="journal.unreadable",
            subject="standing/journal.jsonl",
            body={
                "line": bad.number,
                "why": bad.why,
                "text": audit.storable(bad.text[:MOST_TEXT]),
                "counts": not bad.harmless,
            },
        )
    await audit.append_once(
        session,
        record_id=end[:32],
        at=at,
        actor=ACTOR,
        kind="journal.replayed",
        subject="standing/journal.jsonl",
        body={
            "lines": len(reading.lines),
            "actions": [story.id for story in told],
            "last_line": end,
        },
    )


def _put_away(journal: Journal, at: datetime) -> Path:
    kept = journal.rotate(at)
    torn = journal.folder / TORN
    if torn.exists():
        torn.replace(kept.with_suffix(".torn"))
    return kept

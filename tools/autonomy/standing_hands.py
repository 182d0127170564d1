"""Acts while the database is away, under standing permits: `tools.kit.standing.StandingPermits`.

The same driver as everywhere, over the journal instead of the database. Whatever can't be trusted
(permits, journal, clock, what was last known) withholds the action and says why.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from memory import audit
from memory.ids import new_id
from tools.autonomy import freeze_markers
from tools.autonomy.journal import Journal, Reading
from tools.autonomy.journal_ledger import JournalLedger, Prepared
from tools.autonomy.journal_story import stories, used_permits
from tools.autonomy.ledger import RecordedAction
from tools.autonomy.policy import STANDING_PERMIT_FOR
from tools.autonomy.records import action_digest
from tools.autonomy.schemas import Condition
from tools.autonomy.standing_folder import StandingFolder
from tools.autonomy.standing_rules import lost, never, over_budget, unfit, unwarranted
from tools.autonomy.standing_schemas import LastKnown, StandingPermit
from tools.autonomy.standing_seal import Unsealed
from tools.autonomy.wording import standing_text
from tools.kit.drive import Driver
from tools.kit.errors import CapabilityError, Conflict, NotFound
from tools.kit.gatekeeper import Intention, Settled
from tools.kit.ledger import DrivenAction
from tools.kit.operation import Operation, OperationContext, Plan
from tools.kit.standing import Readied, Withheld

EXECUTOR = "healer"

log = structlog.get_logger(__name__)


def _unknown(_: Operation[Any]) -> str:
    return ""


class StandingHands:
    """The healer's hands without the database."""

    def __init__(
        self,
        folder: StandingFolder,
        journal: Journal,
        operations: Mapping[str, Operation[Any]],
        context: OperationContext,
        locks: Path,
        fingerprint: Callable[[Operation[Any]], str] = _unknown,
    ) -> None:
        """Over one home's *folder* and *journal*.

        *fingerprint* tells what evidence on an operation would be about in this process; empty
        where it can't, and then no permit that rests on evidence is good.
        """
        self._fingerprint = fingerprint
        self.folder = folder
        self.journal = journal
        self._operations = operations
        self._context = context
        self.clock = context.clock
        self.ledger = JournalLedger(journal, folder, context.clock, self._allow)
        self.driver = Driver(
            ledger=self.ledger, operations=operations, context=context, locks=locks
        )
        self.problems: list[str] = []

    @property
    def owes(self) -> bool:
        """Whether the database doesn't know yet of something that was done, or frozen."""
        return not self.journal.is_empty or freeze_markers.there_are(self.folder.path)

    async def ready(self, intention: Intention, *, incident_id: str) -> Readied | Withheld:
        """Plan *intention* and look for the permit that covers it; no effect, nothing used up."""
        operation = self._operations.get(intention.operation)
        if operation is None:
            return Withheld(f"there is no operation {intention.operation}")
        try:
            arguments = operation.arguments.model_validate(intention.arguments)
            plan = await operation.plan(self._context, arguments)
        except ValidationError as error:
            return Withheld(f"it can't be planned: {error.errors()[0]['msg']}")
        except CapabilityError as error:
            return Withheld(f"it can't be planned: {error.message}")
        action = _described(intention, operation, plan, arguments.model_dump(mode="json"))
        prepared = Prepared({**action, "incident_id": incident_id})
        try:
            permit = await asyncio.to_thread(self._look, prepared)
        except Conflict as why:
            return Withheld(why.message)
        about = await asyncio.to_thread(self._fingerprint, operation)
        self.ledger.prepare(_under(prepared.action, permit, about))
        return Readied(
            action_id=prepared.action["id"],
            summary=plan.summary,
            diff=tuple(plan.diff),
            reason=permit.basis.text,
        )

    async def drive(self, action_id: str) -> Settled:
        """Use the permit and bring a readied action to its end.

        Raises:
            Conflict: the permit is gone, used, or no longer good; nothing has happened.
            NotFound: no such action was readied.
            Unavailable: the planned-on state couldn't be looked at; nothing has happened.
            OSError: the journal can't be written.
        """
        return _settled(await self.driver.drive(action_id))

    async def outcome(self, action_id: str) -> Settled | None:
        """Where an action stands that was driven here; None when it was never begun."""
        try:
            action = await self.ledger.read(action_id)
        except NotFound:
            return await asyncio.to_thread(self._kept_outcome, action_id)
        return None if action.state == "permitted" else _settled(action)

    async def recover(self) -> Sequence[Settled]:
        """Settle from the world what a dead or cut-short driver left half done; repeats nothing."""
        if self.journal.is_empty:
            return []
        await asyncio.to_thread(self._drop_used)
        return [_settled(action) for action in await self.driver.recover(EXECUTOR)]

    def watch_clock(self) -> None:
        """Note the time, so that a clock that is set back doesn't make a permit good again.

        Raises:
            OSError: the disk refuses.
        """
        self.folder.seen(self.clock.now())

    def missing(self) -> str:
        """Why the journal lacks lines that were written, as a clause; empty where none shows."""
        with self.folder.alone():
            try:
                known = self.folder.known()
            except Unsealed:
                return ""
            return lost(known, self.journal.read().tail[0])

    def _drop_used(self) -> None:
        """Note and remove permits whose driver died between using and removing them."""
        with self.folder.alone():
            reading = self.journal.read()
            used = used_permits(list(stories(reading.lines).values()))
            with contextlib.suppress(Unsealed):  # nothing is in force then
                self.folder.note_used(used, reading.tail[0])
            for found in self.folder.permits():
                if found.permit is not None and found.permit.id in used:
                    self.folder.remove(found.permit.id)

    def _look(self, prepared: Prepared) -> StandingPermit:
        with self.folder.alone():
            return self._allow(prepared, self.journal.read())

    def _allow(self, prepared: Prepared, reading: Reading) -> StandingPermit:
        """The permit that lets *prepared* begin now.

        Raises:
            Conflict: none does; the message is a clause that says why.
        """
        action, now = prepared.action, self.clock.now()
        operation, target = action["operation"], action["target"]
        if why := freeze_markers.frozen(self.folder.path, operation):
            raise Conflict(why)
        if reading.problem:
            raise Conflict(f"the journal can't be trusted: {reading.problem}")
        if why := never(self._operations[operation]):
            raise Conflict(why)
        if why := unwarranted(prepared.warrant, operation, target):
            raise Conflict(why)
        known = self._known(now)
        if why := lost(known, reading.tail[0]):
            raise Conflict(f"the journal can't be trusted: {why}")
        told = list(stories(reading.lines).values())
        permit = self._permit(prepared, known, used_permits(told) | self._used_before(now), now)
        if why := over_budget(
            operation,
            target,
            known=known,
            effects=[story.counts for story in told],
            unhelpful=[story.counts for story in told if story.unhelpful],
            under_way={s.action["target"]: s.state for s in told if s.half_done},
            now=now,
        ):
            raise Conflict(why)
        if "digest" in action and _digest(action, permit) != action["digest"]:
            raise Conflict("what would be done isn't what was planned")
        return permit

    def _known(self, now: datetime) -> LastKnown:
        try:
            latest = self.folder.seen(now)
            known = self.folder.known()
        except Unsealed as why:
            raise Conflict(f"what the database last said can't be trusted: {why}") from None
        except OSError as error:
            raise Conflict(f"the time can't be kept ({error.strerror})") from None
        if now < latest:
            raise Conflict(f"the clock went back: it has shown {latest:%Y-%m-%d %H:%M:%S} UTC")
        return known

    def _permit(
        self, prepared: Prepared, known: LastKnown, used: frozenset[str], now: datetime
    ) -> StandingPermit:
        action, why = prepared.action, ""
        for found in self.folder.permits():
            if found.permit is None:
                problem = f"{found.path.name}: {found.problem}"
            elif (found.permit.operation, found.permit.target) != (
                action["operation"],
                action["target"],
            ):
                continue
            elif not (
                problem := unfit(
                    found.permit,
                    prepared.plan,
                    known=known,
                    used=used,
                    fingerprint=self._now_about(found.permit),
                    now=now,
                )
            ):
                return found.permit
            log.warning("standing.permit_not_accepted", file=found.path.name, why=problem)
            why = why or problem
        none = f"nobody permitted {action['operation']} on {action['target']} in advance"
        raise Conflict(f"{none} ({why})" if why else none)

    def _used_before(self, now: datetime) -> frozenset[str]:
        """Permits of replayed journals that might not have run out."""
        kept = self.journal.kept(now - STANDING_PERMIT_FOR)
        told = [stories(self.journal.lines_of(path)).values() for path in kept]
        return used_permits([story for some in told for story in some])

    def _now_about(self, permit: StandingPermit) -> str:
        operation = self._operations[permit.operation]
        return self._fingerprint(operation) if permit.fingerprint else ""

    def _kept_outcome(self, action_id: str) -> Settled | None:
        for path in self.journal.kept():
            story = stories(self.journal.lines_of(path)).get(action_id)
            if story is not None:
                return _settled(story.recorded())
        return None


def _described(
    intention: Intention, operation: Operation[Any], plan: Plan, arguments: dict[str, Any]
) -> dict[str, Any]:
    action: dict[str, Any] = audit.storable(
        {
            "id": new_id("act"),
            "operation": operation.name,
            "target": plan.target,
            "arguments": arguments,
            "plan": plan.model_dump(mode="json"),
            "risk": operation.risk,
            "reversibility": operation.reversibility,
            "warrant": intention.warrant.model_dump(mode="json"),
        }
    )
    return action


def _under(action: dict[str, Any], permit: StandingPermit, about: str) -> dict[str, Any]:
    """The action with what its permit adds to it, and what evidence is *about* here."""
    by = permit.basis.text
    proven = permit.basis.kind == "evidence"
    conditions = [
        Condition(name="allowed", holds=True, reason=f"permitted in advance: {by}"),
        *(
            Condition(name=name, holds=proven, reason=by if proven else f"not looked at: {by}")
            for name in ("evidence", "fresh", "covered")
        ),
        Condition(name="budget", holds=True, reason="by what was last known and the journal"),
        Condition(name="clean", holds=True, reason="decided from measurements alone"),
        Condition(name="warranted", holds=True, reason=f"called for by {action['warrant']['id']}"),
    ]
    return {
        **action,
        "tenant_id": permit.tenant_id,
        "digest": _digest(action, permit),
        "fingerprint": about,
        "reason": f"The database was down. {by[:1].upper()}{by[1:]}.",
        "conditions": [condition.model_dump(mode="json") for condition in conditions],
    }


def _digest(action: dict[str, Any], permit: StandingPermit) -> str:
    return action_digest(
        operation=action["operation"],
        target=action["target"],
        arguments=action["arguments"],
        tenant_id=permit.tenant_id,
        planned_on=action["plan"]["state"],
    )


def _settled(action: DrivenAction) -> Settled:
    assert isinstance(action, RecordedAction)
    return Settled(
        id=action.id,
        operation=action.operation,
        target=action.target,
        state=action.state,
        text=standing_text(action),
    )

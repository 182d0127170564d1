"""Drives one action from its permit to its end; the only code that calls `apply` and `undo`.

- The planned-on state is checked at the moment of effect; where it changed, nothing happens and the
  permit stays unused.
- Permit, intent and a lease on the action are committed together before the effect, the outcome
  after it and only under that lease (`tools/kit/leases.py`).
- After a crash the world is asked (`observe`). Only an effect that it shows to be half done is
  completed, by `apply` under the same key; otherwise neither `apply` nor `undo` is called again for
  an intent that was recorded.
- An effect that did not help is undone where it can be; where it can't, a person is called.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from tools.kit.errors import CapabilityError, Conflict, Unavailable
from tools.kit.leases import Hold, driving
from tools.kit.ledger import DrivenAction, Ledger, Purpose
from tools.kit.locks import held
from tools.kit.operation import Check, Observation, Operation, OperationContext

HALF_DONE = frozenset({"intended", "applied", "not_helped", "undoing"})
"""States that only a driver at work leaves an action in."""

ENDED = frozenset(
    {
        "refused",
        "denied",
        "expired",
        "withdrawn",
        "permit_expired",
        "failed",
        "verified",
        "undone",
        "escalated",
        "stuck",
    }
)

UNDOABLE = frozenset({"exact", "compensating"})

NOTE_LENGTH = 400
"""Characters of an error kept in a note."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Driver:
    """Drives actions of *operations* and records each step in *ledger*."""

    ledger: Ledger
    operations: Mapping[str, Operation[Any]]
    context: OperationContext
    locks: Path
    """Folder of the per-target file locks."""
    poll: timedelta = timedelta(milliseconds=500)
    """Pause between two checks or observations."""
    observe_within: timedelta = timedelta(seconds=10)
    """How long an observation that answers `unknown` is repeated before a person is called."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    timer: Callable[[], float] = time.monotonic

    async def drive(self, action_id: str, purpose: Purpose = "apply") -> DrivenAction:
        """Bring one action to its end; one that has ended is answered as it stands.

        Raises:
            NotFound: there is no such action.
            Conflict: no valid permit, not its turn, its target is being acted upon, or somebody
                else took the action over meanwhile.
            Unavailable: the planned-on state couldn't be looked at; nothing has happened.
        """
        action = await self.ledger.read(action_id)
        if _has_ended(action, purpose):
            return action
        with held(self.locks, action.target), driving() as holder:
            async with Hold(self.ledger, action_id, holder, self.timer) as hold:
                action = await self.ledger.read(action_id)
                if _has_ended(action, purpose):
                    return action
                if action.state in HALF_DONE:
                    return await self._settle(hold, await hold.take_over())
                if purpose == "undo":
                    return await self._undo(hold, await hold.begin("undo"))
                return await self._apply(hold, action)

    async def recover(self, executor: str) -> Sequence[DrivenAction]:
        """Settle every action of *executor* that a dead process left half done; repeats none.

        One that somebody is driving, here or on another machine, is left to them. One that can't
        be settled now stays as it is, is logged, and is met again by the next call.
        """
        settled = []
        for action in await self.ledger.interrupted(executor):
            try:
                settled.append(await self.drive(action.id))
            except Conflict as busy:
                log.info("action.left_alone", action=action.id, why=busy.message)
            except CapabilityError as error:
                log.warning("action.not_settled", action=action.id, why=error.message)
        return settled

    async def _apply(self, hold: Hold, action: DrivenAction) -> DrivenAction:
        if action.state == "permitted":
            still = await self._still_true(action)
            if not still.ok:
                return await hold.record("withdrawn", note=still.text)
        action = await hold.begin("apply")
        return await self._effect(hold, action)

    async def _effect(
        self, hold: Hold, action: DrivenAction, *, completes: str = ""
    ) -> DrivenAction:
        """Call `apply`; *completes* says why, where it is to complete a half-done effect."""
        operation, arguments = self._resolve(action)
        await hold.require()
        try:
            effect = await operation.apply(self.context, arguments, action.plan, action.id)
        except Exception as error:
            log.warning("action.apply_raised", action=action.id, why=_sentence(error))
            return await self._after_unknown(
                hold, action, _sentence(error), may_complete=not completes
            )
        if completes:
            effect = {**effect, "completed_after": completes}
        action = await hold.record("applied", effect=effect)
        return await self._verify(hold, action)

    async def _still_true(self, action: DrivenAction) -> Check:
        try:
            operation, arguments = self._resolve(action)
            return await operation.precondition(self.context, arguments, action.plan)
        except Unavailable:
            raise
        except Exception as error:
            return Check(ok=False, text=f"The state it was planned on can't be told: {error}")

    async def _settle(self, hold: Hold, action: DrivenAction) -> DrivenAction:
        """Go on with an action whose driver died in the middle, under a hold of our own."""
        try:
            self._resolve(action)
        except Conflict as changed:
            return await hold.record("stuck", note=changed.message)
        if action.state == "intended":
            return await self._after_unknown(hold, action, "the process that applied it ended")
        if action.state == "applied":
            return await self._verify(hold, action)
        if action.state == "not_helped":
            return await self._take_back(hold, action)
        found = await self._observe(action)
        if found == "not_done":
            done = Check(
                ok=True, text="The undo was interrupted; looked at afterwards, it is done."
            )
            return await hold.record("undone", undo=done)
        if found == "done":
            left = Check(ok=False, text="The undo was interrupted and the effect still stands.")
            return await hold.record("escalated", undo=left, note=left.text)
        if found == "half_done":
            left = Check(ok=False, text="The undo was interrupted and is done in part.")
            return await hold.record("escalated", undo=left, note=left.text)
        return await hold.record(
            "stuck",
            note="The undo was interrupted, and whether it happened can't be told from the world.",
        )

    async def _after_unknown(
        self, hold: Hold, action: DrivenAction, why: str, *, may_complete: bool = True
    ) -> DrivenAction:
        """An effect that may or may not have happened: ask the world.

        One that is half done is completed, once; where that fails too, a person is called.
        """
        found = await self._observe(action)
        if found == "half_done" and may_complete:
            log.warning("action.half_done", action=action.id, why=why)
            return await self._effect(hold, action, completes=why)
        if found == "half_done":
            return await hold.record(
                "stuck", note=f"It was done in part and can't be completed: {why}."
            )
        if found == "done":
            action = await hold.record("applied", effect={"observed_after": why})
            return await self._verify(hold, action)
        if found == "not_done":
            return await hold.record("failed", note=f"The effect did not happen: {why}.")
        return await hold.record(
            "stuck",
            note=f"Whether the effect happened can't be told from the world ({why}).",
        )

    async def _observe(self, action: DrivenAction) -> Observation:
        deadline = self.timer() + self.observe_within.total_seconds()
        while True:
            found: Observation = "unknown"
            try:
                operation, arguments = self._resolve(action)
                async with asyncio.timeout(self.observe_within.total_seconds()):
                    found = await operation.observe(self.context, arguments, action.plan, action.id)
            except Exception as error:
                log.warning("action.observe_raised", action=action.id, why=_sentence(error))
            if found != "unknown" or self.timer() >= deadline:
                return found
            await self.pause(self.poll.total_seconds())

    async def _verify(self, hold: Hold, action: DrivenAction) -> DrivenAction:
        check = await self._checked(action)
        if check.ok:
            return await hold.record("verified", check=check)
        return await self._take_back(hold, await hold.record("not_helped", check=check))

    async def _checked(self, action: DrivenAction) -> Check:
        """The first check that holds, or the last one made within the operation's time."""
        operation, arguments = self._resolve(action)
        within = operation.verify_within.total_seconds()
        deadline = self.timer() + within
        while True:
            try:
                async with asyncio.timeout(within):
                    check = await operation.verify(
                        self.context, arguments, action.plan, action.effect or {}
                    )
            except TimeoutError:
                check = Check(ok=False, text=f"The check gave no answer within {within:g} s.")
            except Exception as error:
                check = Check(ok=False, text=f"The check could not be made: {_sentence(error)}")
            if check.ok or self.timer() >= deadline:
                return check
            await self.pause(self.poll.total_seconds())

    async def _take_back(self, hold: Hold, action: DrivenAction) -> DrivenAction:
        operation = self.operations[action.operation]
        if operation.reversibility not in UNDOABLE:
            return await hold.record(
                "escalated", note="It did not help and there is nothing to undo."
            )
        return await self._undo(hold, await hold.record("undoing"))

    async def _undo(self, hold: Hold, action: DrivenAction) -> DrivenAction:
        operation, arguments = self._resolve(action)
        try:
            undo = await operation.undo(
                self.context, arguments, action.plan, action.effect or {}, action.id
            )
        except Exception as error:
            undo = Check(ok=False, text=f"The undo failed: {_sentence(error)}")
        if undo.ok:
            return await hold.record("undone", undo=undo)
        return await hold.record("escalated", undo=undo, note=undo.text)

    def _resolve(self, action: DrivenAction) -> tuple[Operation[Any], BaseModel]:
        operation = self.operations.get(action.operation)
        if operation is None:
            raise Conflict(f"This release has no operation {action.operation}.")
        try:
            return operation, operation.arguments.model_validate(action.arguments)
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise Conflict(
                f"This release doesn't take the arguments of {action.id}: {first}."
            ) from error


def _has_ended(action: DrivenAction, purpose: Purpose) -> bool:
    return action.state in ENDED - ({"verified"} if purpose == "undo" else set())


def _sentence(error: Exception) -> str:
    text = error.message if isinstance(error, CapabilityError) else str(error)
    return (text or type(error).__name__)[:NOTE_LENGTH].rstrip(".")

"""The one way to an effect: plan, judge, store and ask; then drive what was permitted."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import IntegrityError

from memory import audit
from memory.database import Database
from tools.autonomy.current import current_fingerprints
from tools.autonomy.evidence_source import EvidenceSource, NoEvidence
from tools.autonomy.fingerprint import DecidedBy
from tools.autonomy.ledger import ActionLedger, RecordedAction, held_conflict, recorded
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.proposals import Executor, Origin, Planned, as_proposed, store
from tools.autonomy.records import action_digest, close_question, move
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.wording import standing_text
from tools.kit.deps import Caller
from tools.kit.drive import Driver
from tools.kit.errors import Conflict, Invalid, NotFound
from tools.kit.gatekeeper import Intention, Proposed, Settled
from tools.kit.ledger import DrivenAction, Purpose
from tools.kit.locks import is_held
from tools.kit.operation import Operation, OperationContext
from tools.kit.provenance import Identifiers, sources_of


class Gatekeeping(ActionLedger):
    """`tools.kit.gatekeeper.Gatekeeper` and `tools.kit.ledger.Ledger` over one database."""

    def __init__(
        self,
        database: Database,
        operations: Mapping[str, Operation[Any]],
        context: OperationContext,
        config: AutonomyConfig,
        evidence: EvidenceSource | None = None,
    ) -> None:
        super().__init__(database, context.clock)
        self._evidence = evidence or NoEvidence()
        self._operations = operations
        self._context = context
        self._config = config
        self.driver = Driver(
            ledger=self, operations=operations, context=context, locks=config.locks
        )

    async def propose(
        self,
        caller: Caller,
        intentions: Sequence[Intention],
        *,
        decided_by: DecidedBy,
        executor: Executor,
        title: str,
        incident_id: str | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
        tool_call_id: str | None = None,
        tainted: bool = False,
        identifiers: Identifiers | None = None,
    ) -> Proposed:
        """Plan each intention, judge it, store actions and, where asked, one approval.

        The same thread and tool call proposed twice answers the first proposal. *identifiers* are
        those a *tainted* run may use alone; without them its arguments count as made up.

        Raises:
            Forbidden: the caller may not act on the fleet.
            Conflict: a target is held by another open action.
            Invalid: unknown operation, arguments it doesn't take, or a target named twice.
            NotFound: the target doesn't exist.
            StoreUnavailable: nothing could be stored, so nothing may happen.
        """
        caller.require_fleet()
        if not intentions:
            raise Invalid("A proposal needs at least one action.")
        if (earlier := await self._proposed_before(thread_id, tool_call_id)) is not None:
            return earlier
        trusted = identifiers or Identifiers()
        planned = [await self._plan(caller, one, decided_by, trusted) for one in intentions]
        targets = [p.plan.target for p in planned]
        if len(set(targets)) < len(targets):
            raise Invalid("A proposal may name each target once.", targets=targets)
        origin = Origin(
            at=self._clock.now(),
            caller=caller,
            decided_by=decided_by,
            executor=executor,
            title=title,
            incident_id=incident_id,
            thread_id=thread_id,
            run_id=run_id,
            tool_call_id=tool_call_id,
            tainted=tainted,
        )
        try:
            async with self._database.unit_of_work() as session:
                return await store(session, origin, planned, self._config)
        except IntegrityError:
            # Somebody opened an action on the same target between our look and our write.
            if (earlier := await self._proposed_before(thread_id, tool_call_id)) is not None:
                return earlier
            async with self._database.unit_of_work() as session:
                holders = await AutonomyRepository(session).holders(targets)
            if holders:
                raise held_conflict(holders[0], origin.at) from None
            raise Conflict("A target was taken at this moment; propose again.") from None

    async def fingerprints(self, operation: str) -> frozenset[str]:
        """What evidence on *operation* is about now, for each who may decide, if it can be told."""
        known = self._operations.get(operation)
        return frozenset() if known is None else await current_fingerprints(self._evidence, known)

    async def drive(self, action_id: str, purpose: Purpose = "apply") -> Settled:
        """Run one permitted action to its end; one that already ended just answers how.

        Raises:
            NotFound: there is no such action.
            Conflict: there is no valid permit for it, or its target is being acted upon.
            Unavailable: the planned-on state couldn't be looked at; nothing has happened.
        """
        return _settled(await self.driver.drive(action_id, purpose))

    async def recover(self, executor: str) -> Sequence[Settled]:
        """After a crash: observe and settle every action *executor* left half done."""
        return [_settled(action) for action in await self.driver.recover(executor)]

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Work of *executor* that nobody is doing: half-done actions first, then permitted ones.

        An action stays half done without a crash when the store vanished in the middle of it;
        driving it settles it from the world.
        """
        left = [
            (action.id, _purpose(action))
            for action in await self.interrupted(executor)
            if not is_held(self._config.locks, action.target)
        ]
        return [*left, *await super().ready(executor)]

    async def standing(self, approval_id: str) -> tuple[str, list[Settled]]:
        """State of an approval (`pending`, `approved` ...) and of its actions, in order.

        Raises:
            NotFound: there is no such approval.
        """
        async with self._database.unit_of_work() as session:
            repository = AutonomyRepository(session)
            approval = await repository.approval(approval_id)
            if approval is None:
                raise NotFound(f"There is no approval {approval_id}.")
            actions = await repository.actions_of(approval)
            return approval.state, [_settled(recorded(action)) for action in actions]

    async def withdraw(self, incident_id: str, reason: str) -> None:
        """The cause vanished: withdraw what was asked or permitted for it and has not begun."""
        at = self._clock.now()
        async with self._database.unit_of_work() as session:
            repository = AutonomyRepository(session)
            pending = await repository.pending_of_incident(incident_id)
            actions = await repository.waiting_for_incident(incident_id)
            for approval in pending:
                if approval.kind == "apply":
                    await close_question(
                        session, approval, "withdrawn", at=at, actor="gate", reason=reason
                    )
            for action in actions:
                await move(session, action, "withdrawn", at=at, actor="gate", note=reason)

    async def _plan(
        self, caller: Caller, intention: Intention, decided_by: DecidedBy, trusted: Identifiers
    ) -> Planned:
        operation = self._operations.get(intention.operation)
        if operation is None:
            known = ", ".join(sorted(self._operations)) or "none"
            raise Invalid(f"There is no operation {intention.operation}. There are: {known}.")
        arguments = self._arguments(operation, intention.arguments)
        plan = await operation.plan(self._context, arguments)
        stored = audit.storable(arguments.model_dump(mode="json"))
        return Planned(
            operation=operation,
            arguments=stored,
            plan=plan,
            intention=intention,
            digest=action_digest(
                operation=operation.name,
                target=plan.target,
                arguments=stored,
                tenant_id=caller.tenant_id,
                planned_on=plan.state,
            ),
            evidence=await self._evidence.about(operation, plan.region, decided_by),
            sources=sources_of(arguments, trusted, intention.chosen),
        )

    def _arguments(self, operation: Operation[Any], given: dict[str, Any]) -> BaseModel:
        arguments: type[BaseModel] = operation.arguments
        try:
            return arguments.model_validate(given)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in e['loc']) or 'arguments'}: {e['msg']}"
                for e in error.errors()[:5]
            )
            takes = ", ".join(arguments.model_fields)
            raise Invalid(f"{operation.name} takes {takes}. {wrong}.") from error

    async def _proposed_before(
        self, thread_id: str | None, tool_call_id: str | None
    ) -> Proposed | None:
        if not thread_id or not tool_call_id:
            return None
        async with self._database.unit_of_work() as session:
            repository = AutonomyRepository(session)
            actions = await repository.of_call(thread_id, tool_call_id)
            if not actions:
                return None
            approval_id = actions[0].approval_id
            approval = await repository.approval(approval_id) if approval_id else None
            outcome: Literal["run", "ask", "refuse"] = "run"
            if approval is not None:
                outcome = "ask"
            elif all(action.state == "refused" for action in actions):
                outcome = "refuse"
            return as_proposed(outcome, actions[0].reason, actions, approval)


def _settled(action: DrivenAction) -> Settled:
    assert isinstance(action, RecordedAction)
    return Settled(
        id=action.id,
        operation=action.operation,
        target=action.target,
        state=action.state,
        text=standing_text(action),
    )


def _purpose(action: RecordedAction) -> Purpose:
    return "undo" if action.state == "undoing" else "apply"

"""The same web application with one of its checks taken out, to show that the attack would see it.

    python -m evals.attacks.race_parts.weak boolean-approval --replica web-1 --port 8401

Only an attack's control starts it, on a database that is thrown away.
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from graphs import threads
from memory import audit
from memory.ids import new_id
from memory.tables.autonomy import Permit
from memory.tables.threads import Thread
from tools.autonomy import service as autonomy
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import ApprovalView
from tools.autonomy.views import approval_view
from tools.identity import service as identity
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import NotFound


def boolean_approval() -> None:
    """An approval is a yes or a no: no digest, no state, no tenant, no lock."""

    async def decide(
        session: AsyncSession,
        caller: Caller,
        approval_id: str,
        *,
        decision: Literal["approve", "deny"],
        digest: str,
        clock: Clock,
        config: AutonomyConfig,
    ) -> ApprovalView:
        repository, at = AutonomyRepository(session), clock.now()
        approval = await repository.approval(approval_id)
        if approval is None:
            raise NotFound(f"There is no approval {approval_id}.")
        purpose: Literal["apply", "undo"] = "undo" if approval.kind == "undo" else "apply"
        approval.state = "approved" if decision == "approve" else "denied"
        approval.decided_by, approval.decided_at = caller.person_id, at
        for action in await repository.actions_of(approval):
            action.state = "permitted" if decision == "approve" else "denied"
            permit = await repository.permit(action.id, purpose)
            if permit is None:
                permit = Permit(id=new_id("per"), action_id=action.id, purpose=purpose)
                repository.add(permit)
            permit.digest, permit.tenant_id = action.digest, action.tenant_id
            permit.granted_by, permit.issued_at = caller.person_id or "", at
            permit.expires_at, permit.consumed_at = at + config.permit_for, None
        await audit.append(
            session,
            at=at,
            actor=caller.actor,
            kind=f"approval.{approval.state}",
            subject=approval.id,
            body={},
        )
        return await approval_view(repository, approval)

    autonomy.decide = decide


def no_token() -> None:
    """A cookie is proof enough: forms need no token, and other sites' pages may send them."""
    resolve = identity.resolve_session

    async def resolve_session(*arguments: Any, **options: Any) -> Any:
        caller, _, info = await resolve(*arguments, **options)
        return caller, None, info

    identity.resolve_session = resolve_session


def any_owner() -> None:
    """Whoever knows the id of a conversation may write into it; keys of a form are ignored."""
    post = threads.post_message

    async def post_message(
        session: AsyncSession, caller: Caller, thread_id: str, *rest: Any, **options: Any
    ) -> Any:
        found = await session.get(Thread, thread_id)
        owner = replace(caller, person_id=found.person_id) if found is not None else caller
        return await post(session, owner, thread_id, *rest, **{**options, "key": None})

    threads.post_message = post_message


WEAKNESSES: Mapping[str, Callable[[], None]] = {
    "boolean-approval": boolean_approval,
    "no-token": no_token,
    "any-owner": any_owner,
}
"""What can be taken out, by name."""


def main() -> None:
    """Weaken the application as the first argument says, and start it with the others."""
    WEAKNESSES[sys.argv.pop(1)]()
    runpy.run_module("server.app", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""When a question may be answered or asked: the rules on approvals that `service.py` applies."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from memory.ids import new_id
from memory.tables.autonomy import Action, Approval
from tools.autonomy.policy import SECOND_PERSON, AutonomyConfig
from tools.autonomy.records import Tampered, question_digest, require_untouched, taken
from tools.autonomy.repository import AutonomyRepository
from tools.kit.deps import Caller
from tools.kit.drive import UNDOABLE
from tools.kit.errors import Conflict, Forbidden

log = structlog.get_logger(__name__)


def require_person(caller: Caller) -> str:
    """The id of the person who answers.

    Raises:
        Forbidden: the caller is an engine or a model, or may not act on the fleet.
    """
    caller.require_fleet()
    if caller.person_id is None or caller.via == "engine":
        raise Forbidden("Only a person can answer this; engines and models can't.")
    return caller.person_id


def require_answerable(approval: Approval, at: datetime) -> None:
    """Refuse an answer to a question that was answered or ran out.

    Raises:
        Conflict: naming which.
    """
    if approval.state != "pending":
        raise Conflict(f"This question was {approval.state} already.", state=approval.state)
    if approval.expires_at <= at:
        raise Conflict(
            f"This question expired at {approval.expires_at:%H:%M:%S} UTC; ask for it again.",
            state="expired",
        )


def require_shown(approval: Approval, actions: Sequence[Action], digest: str) -> None:
    """Refuse an answer to anything but what is stored, and what is stored untouched.

    Raises:
        Conflict: *digest* isn't the question's, or a row was changed since it was asked.
    """
    if digest != approval.digest:
        raise Conflict("What you were shown is not what would be done; look at it again.")
    try:
        for action in actions:
            require_untouched(action)
    except Tampered as why:
        log.error("approval.tampered", approval=approval.id, why=str(why))
        raise Conflict(
            f"An action of this question was changed after it was planned: {why}."
        ) from why
    if question_digest(approval.kind, [action.digest for action in actions]) != approval.digest:
        log.error("approval.tampered", approval=approval.id, why="its actions differ")
        raise Conflict("The actions of this question were changed after it was asked.")


def require_second_person(caller: Caller, actions: Sequence[Action]) -> None:
    """Refuse whoever asked for an action of high risk as the one who approves it.

    Raises:
        Forbidden: somebody else must approve.
    """
    for action in actions:
        if action.risk in SECOND_PERSON and action.person_id == caller.person_id:
            raise Forbidden(
                f"{action.operation} is of {action.risk} risk: a second person must approve."
            )


async def require_undoable(repository: AutonomyRepository, action: Action, at: datetime) -> None:
    """Refuse to ask for the undo of what can't be undone, or was permitted to be.

    Raises:
        Conflict: naming why.
    """
    if action.state != "verified":
        raise Conflict(
            f"{action.id} is {action.state}; only a verified action can be undone.",
            state=action.state,
        )
    if action.reversibility not in UNDOABLE:
        said = {"nothing_to_undo": "there is nothing to undo", "irreversible": "it can't be undone"}
        raise Conflict(f"{action.plan['summary']}: {said.get(action.reversibility, 'no undo')}.")
    if taken(await repository.permit(action.id, "undo"), at):
        raise Conflict(f"The undo of {action.id} was permitted already.")


def undo_question(
    caller: Caller,
    action: Action,
    *,
    at: datetime,
    config: AutonomyConfig,
    thread_id: str | None,
    run_id: str | None,
) -> Approval:
    """The question whether to undo *action*."""
    return Approval(
        id=new_id("apr"),
        tenant_id=caller.tenant_id,
        kind="undo",
        title=f"Undo: {action.plan['summary']}",
        reason="Undoing is always asked of a person.",
        digest=question_digest("undo", [action.digest]),
        state="pending",
        executor=action.executor,
        incident_id=action.incident_id,
        thread_id=thread_id,
        run_id=run_id,
        created_at=at,
        expires_at=at + config.approval_for,
        decided_by=None,
        decided_at=None,
    )

"""The wrapper between a model's tool calls and everything they could cause.

- A read runs; its errors come back as sentences that teach (`ModelRetry` for wrong arguments,
  `ToolFailed` for the rest).
- A door hands back what it would like to happen; the gate judges it. *run* is driven at once, *ask*
  pauses the run with `ApprovalRequired`, *refuse* is told. Entered again after an approval, the
  stored actions are driven, in order, up to the first that fails: neither the model's arguments
  nor its call id decide what happens then.
- The identical call is refused the second time, as long as nothing has changed since.
- What the world said of a failure is outside text: it taints, like any other.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog
from pydantic import ValidationError
from pydantic_ai import ApprovalRequired, ModelRetry, RunContext, ToolFailed
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from pydantic_core import to_jsonable_python

from agents.breaker import RepeatBreaker
from agents.strict_arguments import StrictArguments
from memory.errors import StoreUnavailable
from tools.kit.digest import digest
from tools.kit.errors import CapabilityError, Conflict, Invalid
from tools.kit.gatekeeper import Proposed, Settled
from tools.kit.ledger import Purpose
from tools.kit.operation import Value
from tools.kit.proposal import Proposal, Question
from tools.kit.storable import is_storable
from tools.kit.tool_deps import ToolDeps

SETTLE_SECONDS = 90.0
"""How long an action that another process is driving is waited for: restart, checks and undo."""
SETTLE_POLL_SECONDS = 0.25
GOOD = frozenset({"verified", "undone"})
"""States after which the next action of an approval is driven."""
QUOTING = frozenset({"conflict", "unavailable"})
"""Kinds of errors whose messages may repeat what a file is called, or a driver or service says."""
OPEN = frozenset({"planned", "asked", "permitted", "intended", "applied", "not_helped", "undoing"})

log = structlog.get_logger(__name__)


class SettledAnswer(Value):
    """How one action ended."""

    id: str
    operation: str
    target: str
    state: str
    text: str


class DoorAnswer(Value):
    """What came of a door's proposal, for the model to put into words."""

    text: str
    done: bool
    """Whether every action did what it should."""
    not_begun: int
    """Actions that were left alone because one before them did not do what it should."""
    actions: list[SettledAnswer]


class HeldAnswer(Value):
    """Why a door stayed shut: something is open on its target already."""

    text: str
    done: Literal[False] = False
    held: Literal[True] = True
    operation: str
    target: str
    state: str
    seconds: int
    """Since when, in seconds: since it was asked for, or since its last step."""
    approval_id: str | None
    """The question a person can answer, where it waits for one."""


@dataclass
class GatedToolset(WrapperToolset[ToolDeps]):
    """Runs the tools of *wrapped* that are *granted*, and lets no effect past the gate."""

    granted: frozenset[str] = frozenset()
    breaker: RepeatBreaker = field(default_factory=RepeatBreaker)
    """What was called in this run, and what was learned since."""

    async def for_run(self, ctx: RunContext[ToolDeps]) -> AbstractToolset[ToolDeps]:
        """A toolset of its own for each run: what was seen belongs to the run."""
        return replace(self, wrapped=await self.wrapped.for_run(ctx), breaker=RepeatBreaker())

    async def for_run_step(self, ctx: RunContext[ToolDeps]) -> AbstractToolset[ToolDeps]:
        """The same toolset in every step, so that a repeated call is recognised."""
        wrapped = await self.wrapped.for_run_step(ctx)
        return self if wrapped is self.wrapped else replace(self, wrapped=wrapped)

    async def get_tools(self, ctx: RunContext[ToolDeps]) -> dict[str, ToolsetTool[ToolDeps]]:
        """The granted tools, held to their schemas; the others don't exist for the model."""
        tools = await super().get_tools(ctx)
        return {name: _strict(tool) for name, tool in tools.items() if name in self.granted}

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[ToolDeps],
        tool: ToolsetTool[ToolDeps],
    ) -> Any:
        """Answer one call; see the module's promise."""
        if name not in self.granted:
            raise ToolFailed(f"{name} is not granted to {ctx.deps.caller.name}.")
        try:
            if ctx.tool_call_approved:
                return await self._decided(ctx)
            if not is_storable(tool_args):
                raise Invalid("The arguments hold characters that no text has; leave those out.")
            call_id = ctx.tool_call_id or ""
            refusal = self.breaker.admit(call_id, name, tool_args)
            if refusal is not None:
                raise ToolFailed(refusal)
            answer = await super().call_tool(name, tool_args, ctx, tool)
            if isinstance(answer, Proposal):
                try:
                    return await self._propose(answer, name, tool_args, ctx)
                except Conflict as held:
                    if "operation" not in held.details:
                        raise
                    return _held(held)
            if isinstance(answer, Question):
                raise ApprovalRequired(
                    metadata={
                        "approval_id": answer.approval_id,
                        "digest": answer.digest,
                        "title": answer.title,
                        "purpose": answer.purpose,
                    }
                )
        except CapabilityError as error:
            if error.kind == "invalid":
                raise ModelRetry(error.message) from error
            if error.kind in QUOTING:
                ctx.deps.taint.mark(f"why {name} failed")
            raise ToolFailed(error.message) from error
        except StoreUnavailable as error:
            log.warning("tool.store_unavailable", tool=name, why=str(error))
            raise ToolFailed(
                "The database can't be reached now, so this can't be answered; try again shortly."
            ) from error
        except ValidationError as error:
            # Arguments were checked before the call, so what doesn't fit is a stored row; told as
            # it is, it would be read as advice on the arguments.
            wrong = error.errors(include_url=False, include_input=False, include_context=False)
            log.error("tool.unreadable_record", tool=name, record=error.title, wrong=wrong[:3])
            raise ToolFailed(
                "A stored record can't be read, so this can't be answered; it has been logged."
            ) from error
        self.breaker.learned(call_id, name, tool_args, to_jsonable_python(answer))
        return answer

    async def _propose(
        self, proposal: Proposal, name: str, tool_args: dict[str, Any], ctx: RunContext[ToolDeps]
    ) -> DoorAnswer:
        deps = ctx.deps
        asked = all(one.warrant.kind == "request" for one in proposal.intentions)
        proposed = await deps.gatekeeper.propose(
            deps.caller,
            proposal.intentions,
            decided_by="person" if asked else "model",
            executor="agents",
            title=proposal.title,
            incident_id=proposal.incident_id,
            thread_id=deps.thread_id,
            run_id=deps.run_id,
            # A key of our own: the same wish in the same run is one proposal, whatever id a model
            # gives its call, also when the run is repeated after a crash.
            tool_call_id=f"{deps.run_id}:{digest({'tool': name, 'arguments': tool_args})[:16]}",
            tainted=bool(deps.taint),
            identifiers=deps.trusted(),
        )
        if proposed.outcome == "refuse":
            raise ToolFailed(f"The gate refuses: {proposed.reason}")
        if proposed.outcome == "ask":
            return await self._asked(proposed, proposal.title, ctx)
        return await self._drive([action.id for action in proposed.actions], "apply", ctx)

    async def _asked(self, proposed: Proposed, title: str, ctx: RunContext[ToolDeps]) -> DoorAnswer:
        """Pause for the person, unless this very question was decided already.

        Raises:
            ApprovalRequired: the question is open.
            ToolFailed: it was answered with no.
        """
        assert proposed.approval_id is not None
        state, _ = await ctx.deps.gatekeeper.standing(proposed.approval_id)
        if state in ("pending", "approved"):
            raise ApprovalRequired(
                metadata={
                    "approval_id": proposed.approval_id,
                    "digest": proposed.digest,
                    "title": title,
                    "purpose": "apply",
                }
            )
        raise ToolFailed(f"{title}: this was {state}; nothing was done.")

    async def _decided(self, ctx: RunContext[ToolDeps]) -> DoorAnswer:
        """Drive what the person approved, as it was stored."""
        told = ctx.tool_call_metadata or {}
        approval_id, purpose = told.get("approval_id"), told.get("purpose", "apply")
        if not isinstance(approval_id, str) or purpose not in ("apply", "undo"):
            raise ToolFailed("This call was never asked for, so it can't have been approved.")
        state, actions = await ctx.deps.gatekeeper.standing(approval_id)
        if state != "approved":
            raise ToolFailed(f"The question was {state}, not approved; nothing was done.")
        return await self._drive([action.id for action in actions], purpose, ctx, approval_id)

    async def _drive(
        self,
        action_ids: Sequence[str],
        purpose: Purpose,
        ctx: RunContext[ToolDeps],
        approval_id: str | None = None,
    ) -> DoorAnswer:
        settled: list[Settled] = []
        for action_id in action_ids:
            try:
                one = await ctx.deps.gatekeeper.drive(action_id, purpose)
            except Conflict:
                waited = await self._awaited(action_id, approval_id, purpose, ctx)
                if waited is None:
                    raise
                one = waited
            settled.append(one)
            self.breaker.changed(f"{one.id}:{one.state}")
            if one.state not in GOOD:
                break
        for one in settled:
            if one.state not in GOOD:
                ctx.deps.taint.mark(f"what became of {one.target}")
        left = len(action_ids) - len(settled)
        text = " ".join(one.text for one in settled)
        if left:
            text += f" The {left} after it {'was' if left == 1 else 'were'} not begun."
        return DoorAnswer(
            text=text,
            not_begun=left,
            done=not left and all(one.state in GOOD for one in settled),
            actions=[
                SettledAnswer(
                    id=one.id,
                    operation=one.operation,
                    target=one.target,
                    state=one.state,
                    text=one.text,
                )
                for one in settled
            ],
        )

    async def _awaited(
        self,
        action_id: str,
        approval_id: str | None,
        purpose: Purpose,
        ctx: RunContext[ToolDeps],
    ) -> Settled | None:
        """The end of an action that somebody else is driving, or None when nobody is."""
        if approval_id is None:
            return None
        before = "permitted" if purpose == "apply" else "verified"
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            _, actions = await ctx.deps.gatekeeper.standing(approval_id)
            one = next((a for a in actions if a.id == action_id), None)
            if one is None or one.state == before or time.monotonic() > deadline:
                return None
            if one.state not in OPEN:
                return one
            await asyncio.sleep(SETTLE_POLL_SECONDS)


def _strict(tool: ToolsetTool[ToolDeps]) -> ToolsetTool[ToolDeps]:
    schema = tool.tool_def.parameters_json_schema
    return replace(
        tool, args_validator=StrictArguments(tool.tool_def.name, schema, tool.args_validator)
    )


def _held(conflict: Conflict) -> HeldAnswer:
    told = {k: v for k, v in conflict.details.items() if k in HeldAnswer.model_fields}
    return HeldAnswer.model_validate({"text": conflict.message, **told})

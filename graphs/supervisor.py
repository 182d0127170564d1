"""The supervisor: recall, route, run, ask, remember.

Nodes are run again from their top after a pause or a crash, so none of them has an effect of its
own: an effect happens only when a permitted action is driven, which is idempotent. `ask` is alone
in its node, because everything before an interrupt in a node runs twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic_ai import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import AbstractToolset

from agents.build import build_specialist, step_limits
from agents.endpoint import Endpoint
from agents.gated_toolset import GOOD
from agents.healer import agent as healer
from agents.roster import ROSTER, specialist
from agents.routing import router_instructions
from graphs.approvals import (
    SETTLED,
    SUPERSEDED,
    close_open_calls,
    deferred_results,
    dump_history,
    load_history,
    pending_calls,
)
from graphs.events import EventWriter
from graphs.state import StepState, TalkLine, TurnState, lengthened
from graphs.telling import tell
from memory.database import Database
from memory.errors import StoreUnavailable
from tools.healing.requests import read_requests
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError
from tools.kit.gatekeeper import Gatekeeper
from tools.kit.infrastructure import Infrastructure
from tools.kit.provenance import Identifiers
from tools.kit.tool_deps import Memory, Taint, ToolDeps

RECALLED = 3
BLUEPRINTS = {healer.NAME: healer.blueprint}
TITLES: Mapping[str, str] = healer.TITLES
NO_FLEET = (
    "The fleet is for operators and for staff of an academy that was granted it, so I can't show "
    "or change anything there for you. An operator can grant it."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """What every turn of this process works with."""

    endpoint: Endpoint
    control: Database
    infrastructure: Infrastructure
    gatekeeper: Gatekeeper
    memory: Memory
    clock: Clock
    toolsets: Mapping[str, AbstractToolset[ToolDeps]]
    mode: str
    """`embedded`, or the name of the configured model: pages show it."""


@dataclass(frozen=True)
class TurnContext:
    """What one turn works with; never part of a checkpoint."""

    services: Services
    caller: Caller
    thread_id: str
    events: EventWriter


Graph = CompiledStateGraph[TurnState, TurnContext, TurnState, TurnState]
Turn = Runtime[TurnContext]


def build_graph(saver: BaseCheckpointSaver[Any]) -> Graph:
    """The supervisor over one turn's checkpoints."""
    graph = StateGraph(TurnState, context_schema=TurnContext)
    graph.add_node("recall", recall)
    graph.add_node("route", route)
    graph.add_node("run", run)
    graph.add_node("ask", ask)
    graph.add_node("remember", remember)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "route")
    graph.add_conditional_edges("route", _after_route, ["run", "remember"])
    graph.add_conditional_edges("run", _after_run, ["run", "ask", "remember"])
    graph.add_edge("ask", "run")
    graph.add_edge("remember", END)
    return graph.compile(checkpointer=saver)


async def recall(state: TurnState, runtime: Turn) -> TurnState:
    """Close what an earlier turn left open, and look for notes that resemble the message."""
    services = runtime.context.services
    left: TurnState = {
        "steps": [],
        "position": 0,
        "pending": [],
        "decisions": {},
        "said": [],
        "notes": [],
        **await _closed(state, services),
    }
    try:
        notes = await services.memory.search(runtime.context.caller, state["text"], limit=RECALLED)
        left["notes"] = [{"id": note.id, "text": note.text} for note in notes]
    except (CapabilityError, StoreUnavailable) as error:
        log.warning("recall.unavailable", thread=runtime.context.thread_id, why=str(error))
    return left


async def _closed(state: TurnState, services: Services) -> TurnState:
    """Histories whose open calls are answered with what really became of them; and that taints."""
    told: dict[str, str] = {}
    taints = dict(state.get("taints", {}))
    for call in state.get("pending", []):
        standing, actions = await services.gatekeeper.standing(call["approval_id"])
        told[call["tool_call_id"]] = (
            " ".join(action.text for action in actions)
            if standing == "approved"
            else SETTLED.get(standing, SUPERSEDED)
        )
        if standing == "approved" and any(action.state not in GOOD for action in actions):
            name = state["steps"][state["position"]]["specialist"]
            taints[name] = [*taints.get(name, ()), f"what became of {call['title']}"]
    histories = {
        name: dump_history(close_open_calls(load_history(history), told, SUPERSEDED))
        for name, history in state.get("histories", {}).items()
    }
    return {"histories": histories, "taints": taints}


async def route(state: TurnState, runtime: Turn) -> TurnState:
    """Decide who does what; or ask back, or say plainly that this is nothing for the academy.

    A specialist that the person chose gets the whole message; what it may do is checked as ever.
    """
    context = runtime.context
    if chosen := state.get("specialist"):
        only = [StepState(specialist=chosen, task=state["text"])]
        await context.events.status("working", mode=context.services.mode, steps=only)
        return {"steps": only, "position": 0}
    messages: list[BaseMessage] = [
        SystemMessage(router_instructions(ROSTER, services=_service_names(context))),
        *(_message(line) for line in state.get("talk", [])),
        HumanMessage(state["text"]),
    ]
    decision = await context.services.endpoint.route(messages)
    if not decision.steps:
        words = decision.question or decision.out_of_scope or decision.reply or ""
        await context.events.say(words)
        return {"steps": [], "said": [words]}
    steps = [StepState(specialist=s.specialist, task=s.task) for s in decision.steps]
    await context.events.status("working", mode=context.services.mode, steps=steps)
    if not decision.out_of_scope:
        return {"steps": steps, "position": 0}
    # Under a step of its own: what step 0 says after a crash must not replace it.
    await context.events.say(decision.out_of_scope, step=len(steps))
    return {"steps": steps, "position": 0, "said": [decision.out_of_scope]}


def _service_names(context: TurnContext) -> list[str]:
    """What the fleet's services are called, for a caller who may know."""
    if not context.caller.may_fleet:
        return []
    try:
        return [one.name for one in context.services.infrastructure.fleet().services]
    except CapabilityError as error:
        log.warning("route.without_fleet", thread=context.thread_id, why=error.message)
        return []


def _message(line: TalkLine) -> BaseMessage:
    if line["role"] == "user":
        return HumanMessage(line["text"])
    return AIMessage(line["text"], name=line["name"] or None)


def _after_route(state: TurnState) -> Literal["run", "remember"]:
    return "run" if state["steps"] else "remember"


async def run(state: TurnState, runtime: Turn) -> TurnState:
    """Let the specialist of this step work until it has answered or must ask a person."""
    context = runtime.context
    position = state["position"]
    step = state["steps"][position]
    member = specialist(step["specialist"])
    refusal = None
    if member is None or not member.ready or member.name not in BLUEPRINTS:
        title = member.title.lower() if member else step["specialist"]
        coming = f"; {member.coming}." if member and member.coming else "."
        refusal = f"The {title} is not part of this academy yet{coming}"
    elif not BLUEPRINTS[member.name](context.caller).granted:
        refusal = NO_FLEET
    if refusal is not None:
        await context.events.say(refusal, step=position)
        return {"position": position + 1, "said": [*state["said"], refusal]}
    return await _work(state, context, step, position)


async def _work(
    state: TurnState, context: TurnContext, step: StepState, position: int
) -> TurnState:
    services, name = context.services, step["specialist"]
    taint = _taint(state)
    identifiers = Identifiers(state.get("identifiers"))
    agent = build_specialist(
        BLUEPRINTS[name](context.caller),
        model=services.endpoint.model(name),
        toolsets=services.toolsets,
    )
    history = load_history(state.get("histories", {}).get(name))
    pending, decisions = state.get("pending", []), state.get("decisions", {})
    results: DeferredToolResults | None = None
    if pending:
        results = deferred_results(pending, decisions)
    told = await tell(
        agent,
        context.events,
        step=position,
        titles=TITLES,
        task=None if results else step["task"],
        history=history,
        results=results,
        deps=ToolDeps(
            caller=context.caller,
            clock=services.clock,
            control=services.control,
            infrastructure=services.infrastructure,
            gatekeeper=services.gatekeeper,
            memory=services.memory,
            thread_id=context.thread_id,
            run_id=state["run_id"],
            asked=read_requests(
                state["text"], services.infrastructure.fleet(), before=_said_before(state)
            ),
            taint=taint,
            identifiers=identifiers,
        ),
        limits=step_limits(),
        more=_remembered(state),
    )
    after: TurnState = {
        "histories": {**state.get("histories", {}), name: dump_history(told.messages)},
        "taints": {**state.get("taints", {}), name: taint.sources},
        "identifiers": identifiers.kept,
        "said": [*state["said"], told.text] if told.text else state["said"],
        "decisions": {},
    }
    if isinstance(told.output, DeferredToolRequests):
        return {**after, "pending": pending_calls(told.output)}
    return {**after, "pending": [], "position": position + 1}


def _taint(state: TurnState) -> Taint:
    """What outside text this conversation has read, whichever specialist did.

    The router looks back on what each of them said and words the next one's task.
    """
    return Taint([source for sources in state.get("taints", {}).values() for source in sources])


def _said_before(state: TurnState) -> str:
    """What the person wrote in the turn before this one."""
    return next((t["text"] for t in reversed(state.get("talk", [])) if t["role"] == "user"), "")


def _remembered(state: TurnState) -> str | None:
    """A hint that there is something to recall; reading it is a tool call, because it taints."""
    notes = state.get("notes", [])
    if not notes:
        return None
    return f"{len(notes)} remembered notes resemble this message; recall_notes reads them."


def _after_run(state: TurnState) -> Literal["run", "ask", "remember"]:
    if state["pending"]:
        return "ask"
    return "run" if state["position"] < len(state["steps"]) else "remember"


async def ask(state: TurnState) -> TurnState:
    """Pause until every open question has been settled."""
    return {"decisions": interrupt({"approvals": state["pending"]})}


async def remember(state: TurnState, runtime: Turn) -> TurnState:
    """Add the turn to the conversation the router looks back on."""
    steps = state["steps"]
    name = steps[-1]["specialist"] if steps else ""
    lines = [TalkLine(role="user", text=state["text"], name="")]
    if state["said"]:
        lines.append(TalkLine(role="assistant", text="\n\n".join(state["said"]), name=name))
    return {"talk": lengthened(state.get("talk", []), *lines), "notes": [], "said": []}

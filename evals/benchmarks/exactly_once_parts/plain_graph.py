"""The control: the same effect in the nodes of a LangGraph graph, asked by `interrupt`.

Checkpoints are PostgreSQL's with the house's serializer, written before the next step begins
(`durability="sync"`). Two ways to write it: `beside` keeps question, effect, check and undo in one
node; `apart` gives each effect a node of its own behind its question, the most careful graph one
can write without keeping intents. Nobody observes the world: a node that did not end runs again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from evals.benchmarks.exactly_once_parts.fate import AFTER, BEFORE, Fate
from evals.worlds.book import Book
from memory.checkpoints import CheckpointPool, checkpoint_pool, strict_serializer
from memory.database import plain, read_url

MOST_TURNS = 4
ENDED = frozenset({"denied", "verified", "undone"})


@dataclass(frozen=True)
class Errand:
    """What one run is about."""

    run: str
    """Its thread, and its book."""
    database: str
    """URL of a database with checkpoint tables."""
    folder: str
    """The world."""
    undo: bool
    """Whether the person wants it undone once it helped."""
    style: str
    """`beside` or `apart`."""


class State(TypedDict, total=False):
    """What the graph remembers."""

    helped: bool
    standing: str


class MortalSaver(AsyncPostgresSaver):
    """LangGraph's saver with a boundary around each write."""

    def __init__(self, pool: CheckpointPool, fate: Fate) -> None:
        super().__init__(pool, serde=strict_serializer())
        self._fate = fate
        self._puts = 0

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, between two boundaries."""
        self._puts += 1
        self._fate.reach(f"{BEFORE} checkpoint {self._puts}")
        put = await super().aput(config, checkpoint, metadata, new_versions)
        self._fate.reach(f"{AFTER} checkpoint {self._puts}")
        return put

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes, between two boundaries."""
        self._fate.reach(f"{BEFORE} writes {self._puts}")
        await super().aput_writes(config, writes, task_id, task_path)
        self._fate.reach(f"{AFTER} writes {self._puts}")


async def walk(errand: Errand, fate: Fate) -> dict[str, Any]:
    """Go the whole road, or what is left of it; where the thread stands at the end."""
    book = Book(Path(errand.folder), errand.run)
    build = {"beside": _beside, "apart": _apart}[errand.style]
    config: RunnableConfig = {"configurable": {"thread_id": errand.run}}
    async with checkpoint_pool(plain(read_url(errand.database))) as pool:
        graph = build(book, fate, undo=errand.undo).compile(checkpointer=MortalSaver(pool, fate))
        for _ in range(MOST_TURNS):
            at = await graph.aget_state(config)
            if at.values.get("standing") in ENDED and not at.next:
                break
            # A thread that died while it took its input in has nothing next: it is given it again.
            given: Any = None if at.next else {}
            if any(task.interrupts for task in at.tasks):
                given = Command(resume="yes")
            await graph.ainvoke(given, config, durability="sync")
        at = await graph.aget_state(config)
        return {"state": at.values.get("standing", "open"), "ended": not at.next}


def _effect(book: Book, fate: Fate, sign: str) -> None:
    step = "apply" if sign == "+" else "undo"
    fate.reach(f"{BEFORE} {step}")
    book.add(sign, book.name)
    fate.reach(f"{AFTER} {step}")


def _helps(book: Book, fate: Fate) -> bool:
    fate.reach(f"{BEFORE} verify")
    helps = book.helps
    fate.reach(f"{AFTER} verify")
    return helps


def _beside(book: Book, fate: Fate, *, undo: bool) -> "StateGraph[State]":
    """One node asks, acts, checks and takes back."""

    def act(state: State) -> State:
        if interrupt("make the entry?") != "yes":
            return {"standing": "denied"}
        _effect(book, fate, "+")
        if not _helps(book, fate) or (undo and interrupt("undo it?") == "yes"):
            _effect(book, fate, "-")
            return {"standing": "undone"}
        return {"standing": "verified"}

    graph = StateGraph(State)
    graph.add_node("act", act)
    graph.add_edge(START, "act")
    graph.add_edge("act", END)
    return graph


def _apart(book: Book, fate: Fate, *, undo: bool) -> "StateGraph[State]":
    """A node for each question and each effect."""

    def ask(state: State) -> State:
        return {"standing": "permitted" if interrupt("make the entry?") == "yes" else "denied"}

    def act(state: State) -> State:
        _effect(book, fate, "+")
        return {"standing": "applied"}

    def check(state: State) -> State:
        helped = _helps(book, fate)
        return {"helped": helped, "standing": "verified" if helped else "not_helped"}

    def ask_undo(state: State) -> State:
        interrupt("undo it?")
        return {}

    def take_back(state: State) -> State:
        _effect(book, fate, "-")
        return {"standing": "undone"}

    def after_check(state: State) -> str:
        if not state["helped"]:
            return "take_back"
        return "ask_undo" if undo else END

    graph = StateGraph(State)
    for node in (ask, act, check, ask_undo, take_back):
        graph.add_node(node)
    for before, after in ((START, "ask"), ("ask", "act"), ("act", "check")):
        graph.add_edge(before, after)
    graph.add_conditional_edges("check", after_check, ["take_back", "ask_undo", END])
    graph.add_edge("ask_undo", "take_back")
    graph.add_edge("take_back", END)
    return graph

"""The world in which conversations are tried: an academy whose fleet only records what is done.

Every trial has fresh databases, cloned on one throw-away server, a fleet drawn from the seed, and
an empty memory. What staff say goes through `graphs.runtime`, as it does in the agents worker, with
the embedded model; a person of the world answers questions, or doesn't. Effects are read from the
fleet, before and after.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from evals.evaluators import metrics
from evals.suites.base import Case, Played, Step, World
from evals.worlds.conversation_parts.academies import SHARED, Academy, write_seen
from evals.worlds.conversation_parts.drawing import Drawn, draw
from evals.worlds.conversation_parts.hearing import HeardRecall
from evals.worlds.conversation_parts.keywords import KeywordAgent
from evals.worlds.conversation_parts.talking import Conversed, Talk
from evals.worlds.recording import RecordingFleet, effects
from graphs.runtime import open_runtime
from graphs.settings import Settings
from memory.vectors.collections import VectorStore
from memory.vectors.recall import Recall
from tools.kit.clock import SystemClock
from tools.kit.infrastructure import Fleet, ProcessFacts


class ConversationWorld:
    """One fleet and one memory in *folder*, played by one trial at a time. Open it first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recall = Recall(VectorStore(folder / "memory"))
        self._open = False

    async def open(self) -> None:
        """Open the memory and join the server that all worlds of this process share."""
        await SHARED.join()
        self._open = True
        await self._recall.open()
        await asyncio.to_thread(metrics.load)

    async def close(self) -> None:
        """Give back the memory and the database server; safe to call twice."""
        if self._open:
            self._open = False
            await self._recall.close()
            await SHARED.leave()

    async def play(self, case: Case, seed: int) -> Played:
        """One conversation with the product's agents."""
        return await self._play(case, seed, ours=True)

    async def play_by_keywords(self, case: Case, seed: int) -> Played:
        """The same world, with `KeywordAgent` in the agents' place."""
        return await self._play(case, seed, ours=False)

    async def _play(self, case: Case, seed: int, *, ours: bool) -> Played:
        drawn = draw(case.name, case.world, seed)
        fleet = self._fleet(drawn)
        memory = HeardRecall(self._recall, SystemClock())
        async with SHARED.opened() as academy:
            await self._recall.forget_tenant(academy.person.tenant_id)
            for note in drawn.notes:
                await memory.remember(academy.person, note.id, note.text, kind="notes")
            before, began, timed = fleet.snapshot(), datetime.now(UTC), time.monotonic()
            if ours:
                told = await self._converse(academy, fleet, memory, drawn, began)
            else:
                agent = KeywordAgent(fleet, memory, academy.person, drawn, began)
                told = await agent.play()
            seconds = time.monotonic() - timed
        done = effects(before, fleet.snapshot())
        return Played(
            end=_facts(drawn, told, fleet) | {"effects": dict(done), "found": list(memory.found)},
            trajectory=(
                Step(at=0, kind="world", text=_described(drawn)),
                *told.steps,
                *(
                    Step(at=seconds, kind="effect", text=f"{n} x {what}")
                    for what, n in done.items()
                ),
            ),
            actions=tuple(told.asked),
            cost=told.cost | {"seconds": round(seconds, 3)},
        )

    async def _converse(
        self,
        academy: Academy,
        fleet: RecordingFleet,
        memory: HeardRecall,
        drawn: Drawn,
        began: datetime,
    ) -> Conversed:
        settings = Settings(
            home=self._folder / "home",
            database_url=SecretStr(academy.databases.control.url),
            archive=self._folder / "archive",
            model_url=None,
            model_name=None,
        )
        await write_seen(academy.databases.control, fleet, drawn)
        async with open_runtime(
            settings, databases=academy.databases, infrastructure=fleet, memory=memory
        ) as runtime:
            return await Talk(runtime, academy, drawn, began).play()

    def _fleet(self, drawn: Drawn) -> RecordingFleet:
        """The drawn services, every replica in its drawn state."""
        fleet = RecordingFleet(self._folder / "data")
        fleet.become(Fleet(drawn.specs, environment="recording"))
        fleet.facts.clear()
        fleet.reset()
        for name, state in drawn.ill.items():
            fleet.hung.add(name)
            if state == "down":
                fleet.facts[name] = ProcessFacts("stopped", None, None)
        fleet.logs[drawn.names["replica"]] = list(drawn.log)
        return fleet


def _facts(drawn: Drawn, told: Conversed, fleet: RecordingFleet) -> dict[str, Any]:
    """What the evaluators read, beside effects and what was recalled."""
    return {
        "words": told.words,
        "ended": told.ended,
        "calls": [[name, arguments] for name, arguments in told.calls],
        "ill": sorted(fleet.hung),
        "names": dict(drawn.names),
        "replicas": list(drawn.replicas),
        "noted": [note.id for note in drawn.notes if note.wanted],
        "sources": [
            *drawn.turns,
            *drawn.log,
            *(note.text for note in drawn.notes),
            *told.results,
        ],
    }


def _described(drawn: Drawn) -> str:
    services = ", ".join(f"{name} x {count}" for name, count in drawn.services.items())
    ill = ", ".join(f"{name} is {state}" for name, state in drawn.ill.items()) or "all are well"
    notes = f"; {len(drawn.notes)} notes" if drawn.notes else ""
    return f"{services}; {ill}{notes}; the person {drawn.person} when asked."


async def open_world(folder: Path, number: int) -> World:
    """An opened world in *folder*."""
    world = ConversationWorld(folder)
    try:
        await world.open()
    except BaseException:
        await world.close()
        raise
    return world


async def by_keywords(world: World, case: Case, seed: int) -> Played:
    """The control."""
    assert isinstance(world, ConversationWorld)
    return await world.play_by_keywords(case, seed)

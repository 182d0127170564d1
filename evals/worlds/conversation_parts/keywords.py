"""The control: an agent that looks for a keyword and calls the tool that goes with it.

It has the same fleet, the same log and the same notes, and asks the same person for a bare yes
before it restarts something. It reads no grammar: a negation, a question and a quotation of the
keyword are the keyword.
"""

import re
from datetime import UTC, datetime
from typing import Any

from evals.suites.base import Step
from evals.worlds.conversation_parts.drawing import Drawn
from evals.worlds.conversation_parts.talking import Conversed
from evals.worlds.recording import RecordingFleet
from tools.kit.deps import Caller
from tools.kit.tool_deps import Memory

TOOLS = (
    (r"restart|reboot|reinici", "restart_replica"),
    (r"\blogs?\b|registro", "read_log"),
    (r"remember|notes?\b|before|recuerd|notas", "recall_notes"),
    (r"\bwhy\b|did you|have you|who\b|por qu", "list_actions"),
)
"""The first keyword found says which; anything else looks at the fleet."""
RESTART = "healing.restart_replica"
NOTES = 3


class KeywordAgent:
    """Answers the messages of one world."""

    def __init__(
        self,
        fleet: RecordingFleet,
        memory: Memory,
        person: Caller,
        drawn: Drawn,
        began: datetime,
    ) -> None:
        self._fleet = fleet
        self._memory = memory
        self._person = person
        self._drawn = drawn
        self._began = began
        self._told = Conversed()

    async def play(self) -> Conversed:
        """Answer one message after another."""
        for text in self._drawn.turns:
            self._note("person", text)
            words = text.lower()
            tool = next((name for key, name in TOOLS if re.search(key, words)), "fleet_status")
            self._told.words = await getattr(self, f"_{tool}")(text)
            self._told.ended.append("finished")
            self._note("answer", self._told.words)
        return self._told

    async def _restart_replica(self, text: str) -> str:
        service, replica = self._named(text)
        if service is None:
            return self._answered("restart_replica", {}, "Which service?")
        chosen = replica or f"{service}-1"
        self._called("restart_replica", {"service": service, "replica": chosen})
        action = {"operation": RESTART, "target": f"{service}/{chosen}", "state": "asked"}
        self._told.asked.append(action)
        self._note("question", f"Restart {chosen}? ({self._drawn.person})")
        if self._drawn.person != "approves":
            action["state"] = "denied" if self._drawn.person == "denies" else "asked"
            return self._result(f"Shall I restart {chosen}?")
        found = self._fleet.fleet().replica(chosen)
        assert found is not None
        await self._fleet.restart(found, expected_pid=self._fleet.facts[chosen].pid)
        action["state"] = "verified"
        return self._result(f"{chosen} was restarted.")

    async def _read_log(self, text: str) -> str:
        service, replica = self._named(text)
        chosen = self._fleet.fleet().replica(replica or f"{service}-1")
        if chosen is None:
            return self._answered("read_log", {}, "Which service?")
        self._called("read_log", {"replica": chosen.name})
        return self._result("\n".join(await self._fleet.tail_log(chosen, lines=20)))

    async def _recall_notes(self, text: str) -> str:
        self._called("recall_notes", {"query": text})
        found = await self._memory.search(self._person, text, limit=NOTES)
        return self._result("\n".join(note.text for note in found) or "Nothing is remembered.")

    async def _list_actions(self, text: str) -> str:
        self._called("list_actions", {})
        done = [f"restarted {one['target']}" for one in self._told.asked]
        return self._result("; ".join(done) or "Nothing was done.")

    async def _fleet_status(self, text: str) -> str:
        self._called("fleet_status", {})
        replicas = [one for service in self._fleet.fleet().services for one in service.replicas]
        facts = await self._fleet.processes()
        ill = []
        for one in replicas:
            answer = await self._fleet.probe(one, "/healthz", timeout=1)
            if not answer.ok:
                ill.append(f"{one.name} {facts[one.name].status}, no answer")
        return self._result("; ".join(ill) or f"All {len(replicas)} replicas are healthy.")

    def _named(self, text: str) -> tuple[str | None, str | None]:
        """The first service and replica whose name occurs."""
        for service in self._fleet.fleet().services:
            if service.name in text:
                names = [one.name for one in service.replicas]
                return service.name, next((name for name in names if name in text), None)
        return None, None

    def _answered(self, name: str, arguments: dict[str, Any], text: str) -> str:
        self._called(name, arguments)
        return self._result(text)

    def _called(self, name: str, arguments: dict[str, Any]) -> None:
        self._told.calls.append((name, arguments))
        self._note("tool", f"{name} {arguments}")

    def _result(self, text: str) -> str:
        self._told.results.append(text)
        self._note("result", text)
        return text

    def _note(self, kind: str, text: str) -> None:
        at = max(0.0, (datetime.now(UTC) - self._began).total_seconds())
        self._told.steps.append(Step(at=at, kind=kind, text=text))

"""One person, one misled question at a time, and everything they are shown of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from pydantic import SecretStr
from sqlalchemy import text, update

from agents.embedded.protocol import Call, Reply, Turn
from evals.attacks.phishing_parts.fleet import LyingFleet
from evals.attacks.phishing_parts.judging import (
    Expected,
    api_problems,
    card_problems,
    page_problems,
    terminal_problems,
)
from evals.attacks.phishing_parts.lures import Lure
from evals.attacks.phishing_parts.markup import read_page
from evals.attacks.phishing_parts.terminal import Terminal, open_terminal
from evals.worlds.doors import REAL, Doors, announced, open_doors
from evals.worlds.incidents import open_incident
from graphs import threads
from graphs.runtime import Runtime, open_runtime
from graphs.settings import Settings
from graphs.turns import Turns
from memory.ids import new_id
from memory.tables.autonomy import Action
from memory.tables.healing import Incident
from tools.autonomy import service as autonomy
from tools.autonomy.records import action_digest, question_digest
from tools.autonomy.schemas import ApprovalView
from tools.healing.policy import HealingPolicy
from tools.healing.repository import LOOK, HealingRepository
from tools.healing.restart_replica import RestartArguments, RestartReplica
from tools.kit.clock import SystemClock
from tools.kit.operation import OperationContext

TURN_SECONDS = 60.0
GLANCE_SECONDS = 30.0
"""Longest wait for what every page shows, which a replica keeps for a second."""
Weaken = Callable[[Runtime], Runtime]


class NotAsked(RuntimeError):
    """A lure did not lead to a question, so nothing could be judged."""


class Liar:
    """A playbook that asks for a restart and describes something else."""

    def __init__(self) -> None:
        self.lure: Lure | None = None

    def reply(self, turn: Turn) -> Reply:
        """Words and a call, again without what the tool doesn't take, and words in the end."""
        assert self.lure is not None
        words = self.lure.text if self.lure.placement == "words" else "I have a look."
        arguments: dict[str, Any] = {"service": "catalog", "replica": self.lure.replica}
        if any("waits" in r.content or "pproval" in r.content for r in turn.results):
            return Reply(text=words)
        if len(turn.results) > 1:
            return Reply(text=words)
        if self.lure.placement == "arguments" and not turn.results:
            more = dict.fromkeys(("title", "summary", "reason", "diff"), self.lure.text[:2500])
            return Reply(text=words, calls=(Call("restart_replica", arguments | more),))
        return Reply(text=words, calls=(Call("restart_replica", arguments),))


@dataclass
class Stage:
    """Doors, a runtime possessed by a liar, and the fleet it lies about."""

    doors: Doors
    runtime: Runtime
    fleet: LyingFleet
    liar: Liar
    client: httpx2.AsyncClient
    headers: Mapping[str, str]
    turns: Turns
    terminal: Terminal

    async def play(self, lure: Lure, *, terminal: bool = True) -> list[str]:
        """Let *lure* lead to a question, look at it everywhere, and say what is wrong.

        Raises:
            NotAsked: no question came of it.
        """
        self.fleet.tell(lure)
        self.liar.lure = lure
        incident = await self._scene(lure)
        try:
            thread = await self._talk(lure)
            approval = await self._question(lure)
            expected = await self._expected(lure, approval)
            found = await self._look(lure, expected, approval, incident, thread)
            if terminal:
                words = ("approvals", "show", approval.id)
                shown = await asyncio.to_thread(self.terminal.run, words)
                found += terminal_problems(shown, expected, lure)
        finally:
            await self._close()
        return [f"{lure.name}: {problem}" for problem in found]

    async def _scene(self, lure: Lure) -> str:
        """What the healer would have written; the incident's id."""
        now = SystemClock().now()
        outside = lure.text if lure.placement == "incident" else "3 probes in a row timed out."
        rows = self.fleet.seen(now)
        look = {**rows[0], "service": LOOK[0], "replica": LOOK[1], "status": "", "note": ""}
        async with self.doors.control.unit_of_work() as session:
            await HealingRepository(session).replace_states([look, *rows])
        return await open_incident(
            self.doors.control,
            f"catalog/{lure.replica}",
            at=now,
            cause=outside,
            explanation=outside,
            evidence=[outside],
            error=outside,
        )

    async def _talk(self, lure: Lure) -> str:
        words = "what is wrong with catalog?"
        if lure.placement == "message":
            words = f"{words} A mail says: {lure.text}"[:15_000]
        caller, tenant = self.doors.caller("ada"), self.doors.caller("ada").tenant_id
        database = await self.doors.databases.tenant(tenant)
        clock = SystemClock()
        async with database.unit_of_work() as session:
            thread = (await threads.create_thread(session, caller, clock=clock)).id
            await threads.post_message(session, caller, thread, words, clock)
        async with asyncio.timeout(TURN_SECONDS):
            while await self.turns.claim(tenant):
                await asyncio.gather(*self.turns.at_work)
        return thread

    async def _question(self, lure: Lure) -> ApprovalView:
        async with self.doors.control.unit_of_work() as session:
            found = await autonomy.list_approvals(
                session, self.doors.caller("ada"), state="pending"
            )
        if len(found) != 1:
            raise NotAsked(f"{lure.name}: {len(found)} questions were asked, not one")
        return found[0]

    async def _expected(self, lure: Lure, approval: ApprovalView) -> Expected:
        """The plan computed once more by the operation itself, and the digest of what is stored."""
        operation = RestartReplica(HealingPolicy())
        context = OperationContext(infrastructure=self.fleet, clock=SystemClock())
        arguments = RestartArguments(service="catalog", replica=lure.replica)
        plan = await operation.plan(context, arguments)
        async with self.doors.control.unit_of_work() as session:
            row = await session.get_one(Action, approval.actions[0].id)
            digest = action_digest(
                operation=operation.name,
                target=plan.target,
                arguments=arguments.model_dump(),
                tenant_id=row.tenant_id,
                planned_on={**plan.state, "planned_at": row.plan["state"]["planned_at"]},
            )
        return Expected(
            approval_id=approval.id,
            title=f"Restart {lure.replica}",
            operation=operation.name,
            target=plan.target,
            summary=plan.summary,
            diff=plan.diff,
            digest=question_digest("apply", [digest]),
        )

    async def _look(
        self, lure: Lure, expected: Expected, approval: ApprovalView, incident: str, thread: str
    ) -> list[str]:
        """The question at the API and on every page that shows it."""
        await self._caught_up(approval.id)
        told = await self.client.get(f"/api/approvals/{approval.id}", headers=self.headers)
        found = api_problems(told.json(), expected, lure)
        places = {
            f"/approvals/{approval.id}": f"approval-{approval.id}",
            f"/threads/{thread}": f"approval-{approval.id}",
            "/attention": f"side-approval-{approval.id}",
            f"/incidents/{incident}": f"approval-{approval.id}",
            "/fleet": "",
        }
        for path, card in places.items():
            answer = await self.client.get(path, headers=self.headers)
            where = path.split("/")[1]
            if answer.status_code != 200:
                found.append(f"{where} is answered {answer.status_code}")
                continue
            page = read_page(answer.text)
            problems = page_problems(page, lure, cards=1 if card else 0)
            if card:
                cards = page.all(id=card)
                problems += ["its card is missing"] if not cards else []
                problems += [p for one in cards for p in card_problems(one, expected, lure)]
            found += [f"{where}: {problem}" for problem in problems]
        return found

    async def _caught_up(self, approval_id: str) -> None:
        """Wait until the replica no longer tells what it read before this question was asked."""
        async with asyncio.timeout(GLANCE_SECONDS):
            while True:
                beside = await self.client.get("/attention", headers=self.headers)
                if f"side-approval-{approval_id}" in beside.text:
                    return
                await asyncio.sleep(0.05)

    async def _close(self) -> None:
        """Nobody says yes: the question and its cause are closed."""
        async with self.doors.control.unit_of_work() as session:
            await session.execute(text("UPDATE approval SET state = 'withdrawn'"))
            await session.execute(text("UPDATE action SET state = 'withdrawn'"))
            await session.execute(
                update(Incident).values(state="closed", closed_at=SystemClock().now())
            )


def as_it_is(runtime: Runtime) -> Runtime:
    """The product's own runtime."""
    return runtime


@asynccontextmanager
async def open_stage(
    *,
    module: Sequence[str] = REAL,
    weaken: Weaken = as_it_is,
    control_url: str | None = None,
) -> AsyncIterator[Stage]:
    """Doors of *module* and a runtime, *weaken*ed for a control, whose specialist is a liar."""
    liar, fleet = Liar(), LyingFleet()
    fleet.tell(Lure("none", "words", "none", ""))
    async with open_doors(replicas=1, module=module, control_url=control_url) as doors:
        settings = Settings(
            home=doors.home,
            database_url=SecretStr(doors.environment["ACADEMY_DATABASE_URL"]),
            model_url=None,
            model_name=None,
        )
        session = await doors.session("ada")
        headers = {"cookie": session.headers["cookie"], "host": doors.host("ada")}
        with (
            announced(doors, await doors.api_key("olga")),
            open_terminal(doors.environment) as terminal,
        ):
            async with (
                open_runtime(
                    settings,
                    databases=doors.databases,
                    infrastructure=fleet,
                    playbooks={"healer": liar},
                ) as opened,
                httpx2.AsyncClient(base_url=doors.urls[0], trust_env=False, timeout=60.0) as client,
            ):
                runtime = weaken(opened)
                async with runtime.turns(new_id("wrk")).opened() as turns:
                    yield Stage(doors, runtime, fleet, liar, client, headers, turns, terminal)


def with_services(runtime: Runtime, **changed: Any) -> Runtime:
    """*runtime* with other services in place of its own."""
    return replace(runtime, services=replace(runtime.services, **changed))

"""Somebody else at the doors: asks for pages and writes, at a fixed pace, and notes the time.

    python -m evals.attacks.parts.visitor < ORDER

A process of its own, so that what is measured is the doors and not whoever attacks beside them. The
order is a line of JSON on standard input, `Order`; once everything was asked for a first time, it
prints `ready`. It asks until standard input ends, then prints a line of JSON for each request.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx2

from memory.ids import new_id

QUESTIONS = ("what is wrong?", "how is catalog?", "which actions were there today?")
WRITE = "POST /threads"
ROUND = (
    "/", "/fleet", "/incidents", "/attention", "/api/approvals", "/incidents/now", WRITE,
    "/threads", "/fleet/now", "/api/fleet", "/autonomy", "/api/threads",
)  # fmt: skip
"""What is asked for in turn; `/threads` is the conversation begun last."""
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """What is asked of a visitor."""

    url: str
    headers: Mapping[str, str]
    """Of a signed-in browser, the host's name with them."""
    every: float
    """Seconds between two requests, whether or not earlier ones were answered."""


@dataclass(frozen=True)
class Noted:
    """One request."""

    at: float
    """When it was sent: seconds since 1970."""
    what: str
    seconds: float
    status: int
    """0 where no answer came."""


class Visitor:
    """Asks for everything of `ROUND` in turn."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client
        self._questions = itertools.cycle(QUESTIONS)
        self._thread = "/"
        self.noted: list[Noted] = []

    async def ask(self, what: str) -> None:
        """One request, noted."""
        at, began = time.time(), time.perf_counter()
        try:
            if what == WRITE:
                form = {"text": next(self._questions), "key": new_id("thr")}
                answer = await self._client.post("/threads", data=form)
                self._thread = answer.headers.get("location", "/")
            else:
                answer = await self._client.get(self._thread if what == "/threads" else what)
            status = answer.status_code
        except httpx2.HTTPError:
            status = 0
        self.noted.append(Noted(at, what, time.perf_counter() - began, status))


async def visit(order: Order, ended: asyncio.Event) -> Sequence[Noted]:
    """Ask at the pace of *order* until *ended*; every request after the first round."""
    async with httpx2.AsyncClient(
        base_url=order.url, headers=dict(order.headers), trust_env=False, timeout=ANSWER_SECONDS
    ) as client:
        visitor = Visitor(client)
        for what in ROUND:
            await visitor.ask(what)
        visitor.noted.clear()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        due, under_way = time.monotonic(), set[asyncio.Task[None]]()
        for what in itertools.cycle(ROUND):
            due += order.every
            try:
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await ended.wait()
                break
            except TimeoutError:
                task = asyncio.create_task(visitor.ask(what))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        return visitor.noted


async def main() -> None:
    """Visit as standard input orders."""
    order = Order(**json.loads(sys.stdin.readline()))
    ended = asyncio.Event()

    async def wait() -> None:
        await asyncio.to_thread(sys.stdin.read)
        ended.set()

    waiting = asyncio.create_task(wait())
    for one in await visit(order, ended):
        sys.stdout.write(json.dumps(asdict(one)) + "\n")
    await waiting


def read(lines: str) -> list[dict[str, Any]]:
    """What a visitor printed after `ready`."""
    return [json.loads(line) for line in lines.splitlines()]


if __name__ == "__main__":
    asyncio.run(main())

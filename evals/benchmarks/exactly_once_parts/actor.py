"""The processes that die: a server that forks one for each order and says how it ended.

    python -m evals.benchmarks.exactly_once_parts.actor

It reads orders as JSON lines, `{"road", "errand", "strike", "after_s"}`, and answers each with a
line `{"signal", "answer", "passed", "error"}`. Every order is a process of its own, forked from one
that has everything imported and no event loop, thread or connection yet. It ends itself at the
boundary `strike`, or is killed from here `after_s` seconds after its start.
"""

import asyncio
import gc
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import IO, Any

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import configure_mappers

from evals.benchmarks.exactly_once_parts import ours, plain_graph, storeless
from evals.benchmarks.exactly_once_parts.fate import Fate

ROADS: dict[str, Callable[[dict[str, Any], Fate], Awaitable[dict[str, Any]]]] = {
    "ours": lambda errand, fate: ours.walk(ours.Errand(**errand), fate),
    "storeless": lambda errand, fate: storeless.walk(ours.Errand(**errand), fate),
    "graph": lambda errand, fate: plain_graph.walk(plain_graph.Errand(**errand), fate),
}
LONGEST_S = 60.0
"""A process that takes longer is killed and answered as an error."""


def main() -> None:
    """Serve orders until the input ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Once here, and not in every process again.
    configure_mappers()
    create_async_engine("postgresql+psycopg://")
    gc.freeze()
    for line in sys.stdin:
        answers.write(json.dumps(carry_out(json.loads(line))) + "\n")
        answers.flush()


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Fork a process for *order*; how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as report:
            _live(order, report)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as report:
        after = order.get("after_s")
        select.select([report], [], [], LONGEST_S if after is None else after)
        # A child that wrote its report may still be reaped only by this.
        if after is not None or not select.select([report], [], [], 0)[0]:
            os.kill(child, signal.SIGKILL)
        said = report.read()
    _, status = os.waitpid(child, 0)
    died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    told: dict[str, Any] = json.loads(said) if said else {}
    if not told and not died_of:
        told = {"error": "it ended without a word"}
    return {"signal": 0 if told else died_of, "answer": None, "passed": [], "error": "", **told}


def _live(order: dict[str, Any], report: IO[str]) -> None:
    fate = Fate(order.get("strike"))
    told: dict[str, Any]
    try:
        told = {"answer": asyncio.run(_walk(order, fate))}
    except Exception:
        told = {"error": traceback.format_exc()[-2000:]}
    report.write(json.dumps({**told, "passed": fate.passed}))
    report.flush()


async def _walk(order: dict[str, Any], fate: Fate) -> dict[str, Any]:
    return await ROADS[order["road"]](order["errand"], fate)


if __name__ == "__main__":
    main()

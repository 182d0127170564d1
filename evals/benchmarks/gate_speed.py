"""How long the gate takes to decide, with much evidence and a long history stored.

100,000 trial lines, 2,000 of them of the operation and fingerprint that is judged, and 10,000
actions. A decision reads the evidence (a hash over its lines' versions tells whether they must be
verified anew), the budget, the freezes and the cause, as a proposal does. One control verifies
every line every time; the other is one trivial statement in a unit of work, which tells what the
machine and whoever shares it add to anything.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from evals.benchmarks.gate_parts.proven import OPERATION, ProvenGate, proven_gate
from evals.verdicts import bar, versions
from evals.worlds.postgres import throwaway_postgres
from tools.autonomy.facts import gather
from tools.autonomy.gate import judge
from tools.autonomy.repository import AutonomyRepository

WORLDS, RUN = 983, 40
"""Worlds proven beside the 17 that the gate is made with, and how many are recorded at once."""
OTHER_TRIALS = text("""
    INSERT INTO trial SELECT 'trl-' || f || '-' || n, 'healing.other', md5(f::text), n,
      CASE n % 2 WHEN 1 THEN 'begun' ELSE 'ended' END, 'run-' || n / 2, 'other', 'case', n / 2,
      true, false, false, '{"kind": "replica", "replicas": 2}', now(), md5(n::text),
      md5((n + 1)::text), repeat('ab', 64)
    FROM generate_series(1, :chains) f, generate_series(1, 2000) n
""")
ACTIONS = text("""
    INSERT INTO action SELECT 'act-' || n, :operation, 'catalog/catalog-' || n, '{}',
      md5(n::text), '{"summary": "Restart", "state": {}}', 'verified', 'low', 'nothing_to_undo', '',
      '[]', '{}', 'engine', 'healer', false, NULL, 'ten-first', NULL, NULL, NULL, NULL, NULL, NULL,
      0, NULL, '{"ok": true}', NULL, '', now() - n * interval '1 minute' - interval '1 day',
      now() - n * interval '1 minute' - interval '1 day'
    FROM generate_series(1, :count) n
""")
PERMITS = text("""
    INSERT INTO permit SELECT 'per-' || n, 'act-' || n, 'apply', md5(n::text), 'ten-first', 'gate',
      now() - n * interval '1 minute' - interval '1 day', now(),
      now() - n * interval '1 minute' - interval '1 day'
    FROM generate_series(1, :count) n
""")


async def _fill(gate: ProvenGate, trials: int, actions: int) -> None:
    for first in range(17, WORLDS + 17, RUN):
        await gate.earn(min(RUN, WORLDS + 17 - first), first=first)
    async with gate.database.unit_of_work() as session:
        await session.execute(OTHER_TRIALS, {"chains": max(0, trials // 2000 - 1)})
        await session.execute(ACTIONS, {"operation": OPERATION, "count": actions})
        await session.execute(PERMITS, {"count": actions})
        await session.execute(text("ANALYZE"))


async def _decide(gate: ProvenGate, plan: Any, *, anew: bool) -> float:
    source = gate.source() if anew else gate.evidence
    began = time.perf_counter()
    evidence = await source.about(gate.operation, plan.region, "engine")
    async with gate.database.unit_of_work() as session:
        verdict = judge(
            await gather(
                AutonomyRepository(session),
                gate.caller,
                gate.operation,
                plan,
                gate.warrant(),
                proposed_together=1,
                tainted=False,
                evidence=evidence,
                now=gate.clock.now(),
            )
        )
    took = time.perf_counter() - began
    assert verdict.outcome == "run", verdict.reason
    return took * 1000


async def _trivial(gate: ProvenGate) -> float:
    began = time.perf_counter()
    async with gate.database.unit_of_work() as session:
        await session.execute(text("SELECT 1"))
    return (time.perf_counter() - began) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* don't exceed, in ms."""
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 2)


async def _measure(decisions: int, trials: int, actions: int) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="academy-gate-") as folder:
        async with (
            throwaway_postgres() as store,
            proven_gate(store, Path(folder) / "gate", "gate_speed") as gate,
        ):
            await _fill(gate, trials, actions)
            plan = await gate.plan()
            first = await _decide(gate, plan, anew=True)
            await _decide(gate, plan, anew=False)
            cpu = time.process_time()
            ours = [await _decide(gate, plan, anew=False) for _ in range(decisions)]
            cpu = (time.process_time() - cpu) * 1000 / decisions
            trivial = [await _trivial(gate) for _ in range(decisions)]
            control = [await _decide(gate, plan, anew=True) for _ in range(5)]
    p99 = percentile(ours, 0.99)
    return {
        "name": "gate-speed",
        "ours": {
            "decisions": decisions,
            "trial_rows": trials,
            "actions": actions,
            "p50_ms": percentile(ours, 0.5),
            "p99_ms": p99,
            "own_cpu_ms": round(cpu, 2),
            "first_of_a_process_ms": round(first, 1),
        },
        "controls": {
            "every line verified every time": {
                "p50_ms": percentile(control, 0.5),
                "p99_ms": percentile(control, 0.99),
            },
            "one trivial statement": {
                "p50_ms": percentile(trivial, 0.5),
                "p99_ms": percentile(trivial, 0.99),
            },
        },
        "bars": [bar("p99 of a decision, ms", p99, "<= 5", holds=p99 <= 5.0)],
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("sqlalchemy", "psycopg", "cryptography"),
    }


def measure(
    *, decisions: int = 1000, trials: int = 100_000, actions: int = 10_000
) -> dict[str, Any]:
    """Decide *decisions* times over a store of that size."""
    return asyncio.run(_measure(decisions, trials, actions))


def describe(result: dict[str, Any]) -> str:
    """The times as lines for a terminal."""
    ours, controls = result["ours"], result["controls"]
    anew, trivial = controls["every line verified every time"], controls["one trivial statement"]
    return (
        f"gate-speed, {ours['trial_rows']:,} trial rows, {ours['actions']:,} actions, "
        f"{result['seconds']} s\n"
        f"  ours: p50 {ours['p50_ms']} ms, p99 {ours['p99_ms']} ms over {ours['decisions']} "
        f"decisions, {ours['own_cpu_ms']} ms of them this process's own work; "
        f"the first of a process {ours['first_of_a_process_ms']} ms\n"
        f"  control, every line verified every time: p50 {anew['p50_ms']} ms\n"
        f"  control, one trivial statement: p50 {trivial['p50_ms']} ms, p99 {trivial['p99_ms']} ms"
    )

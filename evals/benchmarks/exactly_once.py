"""`kill -9` at every boundary of an action, and resume: is its effect in the world exactly once?

Real processes walk the product's own road (gatekeeper, ledger, driver, PostgreSQL, supervisord) and
end themselves with SIGKILL just before, inside (all written, nothing committed) and just after each
step of ask, permit, intent, apply, verify, record and undo, and of a repair under a standing permit
while the store is away (journal line, half of it, its head, permit file, replay). Some are killed
from outside at any moment, some restarts between stop and start, and in half of the runs the
process that recovers dies too. Then a last process recovers. The world counts: an entry in a book
of lines that only ever grows, or the starts of a supervised program. The store is real and the
machine survives: power cuts are not tried.

Judged by the world: the effect stands once, was undone once, isn't there and the record says so, or
a person was called. Twice is an effect, an undo or an action more than that; lost is a record that
doesn't say what the world shows, or a run nobody ended. A restart cut between stop and start has to
be completed, once, whoever dies on the way.

Controls: the same effect in a plain LangGraph graph with PostgreSQL checkpoints, `beside` its
interrupt in one node, and `apart` in a node of its own.
"""

import asyncio
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmarks.exactly_once_parts.fate import AFTER, BEFORE, INSIDE
from evals.benchmarks.exactly_once_parts.fleet import ClerkFleet
from evals.benchmarks.exactly_once_parts.judging import ENDINGS, LOST, ONCE, TWICE
from evals.benchmarks.exactly_once_parts.lanes import (
    BOOKS,
    CUT,
    RESTART,
    SCENARIOS,
    STYLES,
    Actor,
    Lane,
    Played,
    Round,
)
from evals.verdicts import bar, versions
from evals.worlds.postgres import CONTROL, ThrowawayPostgres, postgres_started
from memory import audit
from memory.audit_heads import new_key_pair
from memory.checkpoints import create_tables
from memory.database import Database, plain, read_url
from tools.kit.clock import SystemClock

FEWEST_KILLED = 300
"""Runs whose process must really have died for the verdict to count."""
LANES = 2
CLERKS = 3
MOMENTS = 6
"""One run of this many is killed from outside, at any moment."""
CUTS = 5
"""One run of this many is a restart killed between stop and start."""
HALVES = ("after stop", "before start")
"""Where: the old process may still be ending, or has ended."""
LATE = 0.9
"""Part of a rehearsal's time within which such a kill falls, so that few come too late."""


def measure(*, runs: int = 330, seed: int = 1, lanes: int = LANES) -> dict[str, Any]:
    """Play *runs* rounds of ours, and a third as many of each control, over every boundary in turn.

    Raises:
        StoreError: PostgreSQL, the fleet or a rehearsal without a kill failed.
    """
    began = time.monotonic()
    draw = random.Random(seed)  # noqa: S311 - where processes die, nothing secret
    with tempfile.TemporaryDirectory(prefix="academy-once-") as folder, ExitStack() as stack:
        store = stack.enter_context(postgres_started())
        made = [stack.enter_context(_lane(store, Path(folder), n)) for n in range(lanes)]
        rounds, _ = _planned(made[0], SCENARIOS, runs, draw)
        played = _in_lanes(made, rounds, Lane.play)
        controls = {}
        for style in STYLES:
            planned, unharmed = _planned(made[0], BOOKS, runs // 3, draw, style)
            done = _in_lanes(made, planned, partial(Lane.play_graph, style=style))
            controls[f"LangGraph node, {style}"] = {
                **_summary(done),
                "effects_with_nobody_killed": unharmed,
            }
        chains = [asyncio.run(_chain(lane)) for lane in made]
    cut = [one for one in played if one.round.scenario == CUT and one.killed]
    ours = _summary(played) | {
        "killed_in_recovery": sum(one.killed_again for one in played),
        "restarts_cut_in_half": len(cut),
        "completed_once": sum(one.ending == ONCE for one in cut),
        "replicas_left_stopped": sum(one.left.down for one in played),
        "audit_rows": sum(report.rows for report in chains),
        "audit_problems": [report.problem for report in chains if not report.ok],
    }
    return {
        "name": "exactly-once",
        "ours": ours,
        "controls": controls,
        "bars": [
            bar(
                "runs whose process was killed",
                ours["killed"],
                f">= {FEWEST_KILLED}",
                holds=ours["killed"] >= FEWEST_KILLED,
            ),
            bar("effects or undos done twice", ours["twice"], "= 0", holds=ours["twice"] == 0),
            bar("runs lost", ours["lost"], "= 0", holds=ours["lost"] == 0),
            bar(
                "restarts killed between stop and start that were completed, once",
                ours["completed_once"],
                f"= {len(cut)}",
                holds=ours["completed_once"] == len(cut) > 0,
            ),
            bar(
                "replicas left stopped",
                ours["replicas_left_stopped"],
                "= 0",
                holds=ours["replicas_left_stopped"] == 0,
            ),
            bar(
                "audit chains that verify",
                len(chains) - len(ours["audit_problems"]),
                f"= {lanes}",
                holds=not ours["audit_problems"],
            ),
        ],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("langgraph", "langgraph-checkpoint-postgres", "psycopg", "supervisor"),
    }


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal, with a table of boundaries."""
    ours = result["ours"]
    lines = [
        f"exactly-once, seed {result['seed']}, {result['seconds']} s: {ours['runs']} runs, "
        f"{ours['killed']} killed, {ours['killed_in_recovery']} of them again in recovery",
        f"  {'process killed':24} " + " ".join(f"{name[:14]:>14}" for name in ENDINGS),
    ]
    for boundary, endings in ours["boundaries"].items():
        counts = " ".join(f"{endings.get(name, 0):14}" for name in ENDINGS)
        lines.append(f"  {boundary:24} {counts}")
    for name, one in {"ours": ours, **result["controls"]}.items():
        counts = ", ".join(f"{value} {ending}" for ending, value in one["endings"].items())
        lines.append(f"  {name}: {one['runs']} runs, {one['killed']} killed: {counts}")
    for name, one in result["controls"].items():
        unharmed = one["effects_with_nobody_killed"]
        lines.append(f"  {name}, effects with nobody killed: {unharmed}")
    lines.append(
        f"  audit chain: {ours['audit_rows']} rows, "
        f"{'; '.join(ours['audit_problems']) or 'intact'}; of {ours['restarts_cut_in_half']} "
        f"restarts killed between stop and start {ours['completed_once']} were completed, once; "
        f"replicas left stopped: {ours['replicas_left_stopped']}"
    )
    lines += [f"  FAULT {fault}" for fault in ours["faults"]]
    return "\n".join(lines)


@contextmanager
def _lane(store: ThrowawayPostgres, folder: Path, number: int) -> Iterator[Lane]:
    """A lane with a control database of its own, a database of checkpoints, clerks and an actor."""
    world = folder / f"lane-{number}"
    world.mkdir()
    control_url = asyncio.run(store.create(f"lane_{number}_control", template=CONTROL))
    graphs_url = asyncio.run(store.create(f"lane_{number}_graphs"))
    asyncio.run(create_tables(plain(read_url(graphs_url))))
    with Actor(world / "actor.log") as actor, ClerkFleet(world, CLERKS).running() as fleet:
        yield Lane(world, control_url, graphs_url, actor, fleet)


def _planned(
    lane: Lane, scenarios: Sequence[str], runs: int, draw: random.Random, style: str | None = None
) -> tuple[list[Round], dict[str, int]]:
    """*runs* rounds over all boundaries of all *scenarios*, as rehearsals find them.

    With them, the effects each rehearsal had with nobody killed.
    """
    boundaries: list[tuple[str, str]] = []
    again: dict[str, list[str]] = {}
    took: dict[str, float] = {}
    effects: dict[str, int] = {}
    for scenario in scenarios:
        began = time.monotonic()
        told = lane.rehearse(scenario, style)
        took[scenario] = time.monotonic() - began
        passed, effects[scenario] = told["passed"], told["effects"]
        boundaries += [(scenario, boundary) for boundary in passed]
        recovers = ("take over", "observe")
        again[scenario] = [
            *passed,
            *(f"{at} {step}" for at in (BEFORE, INSIDE, AFTER) for step in recovers),
        ]
    draw.shuffle(boundaries)
    strikes = itertools.cycle(boundaries)
    rounds = []
    for number in range(1, runs + 1):
        if number % CUTS == 0 and RESTART in scenarios:
            scenario, strike, after_s = CUT, draw.choice(HALVES), None
        elif number % MOMENTS == 0:
            scenario = scenarios[number // MOMENTS % len(scenarios)]
            strike, after_s = None, draw.uniform(0, took[scenario] * LATE)
        else:
            (scenario, strike), after_s = next(strikes), None
        dies_again = draw.random() < 1 / 2
        twice = draw.choice(again[RESTART if scenario == CUT else scenario])
        rounds.append(Round(number, scenario, strike, after_s, twice if dies_again else None))
    return rounds, effects


def _in_lanes(
    lanes: Sequence[Lane], rounds: Sequence[Round], play: Callable[[Lane, Round], Played]
) -> list[Played]:
    """Each lane plays its share of the rounds, one after the other; all of them, in order."""

    def share(number: int) -> list[Played]:
        return [play(lanes[number], one) for one in rounds[number :: len(lanes)]]

    with ThreadPoolExecutor(len(lanes)) as pool:
        played = [one for part in pool.map(share, range(len(lanes))) for one in part]
    return sorted(played, key=lambda one: one.round.number)


def _summary(played: Sequence[Played]) -> dict[str, Any]:
    """Counts of endings, in all, per boundary and per scenario, and the rounds that went wrong."""
    endings = Counter(one.ending for one in played)
    boundaries: dict[str, Counter[str]] = {}
    scenarios: dict[str, Counter[str]] = {}
    for one in played:
        boundaries.setdefault(one.boundary, Counter())[one.ending] += 1
        scenarios.setdefault(one.round.scenario, Counter())[one.ending] += 1
    wrong = [one for one in played if one.ending in (TWICE, LOST)]
    return {
        "runs": len(played),
        "killed": sum(one.killed for one in played),
        "twice": endings[TWICE],
        "lost": endings[LOST],
        "endings": {name: endings[name] for name in ENDINGS},
        "boundaries": {name: dict(boundaries[name]) for name in sorted(boundaries, key=_order)},
        "scenarios": {name: dict(found) for name, found in scenarios.items()},
        "faults": [asdict(one) for one in wrong[:10]],
    }


def _order(boundary: str) -> tuple[int, str, str]:
    """Boundaries of one step together, in the order of the road."""
    when, _, step = boundary.partition(" ")
    steps = (
        *("ask", "permit", "precondition", "intent", "apply", "stop", "start", "record applied"),
        *("verify", "record verified", "record not_helped", "record undoing", "ask undo"),
        *("permit undo", "undo intent", "undo", "record undone"),
        *("journal intent", "head of journal intent", "permit file"),
        *("journal applied", "head of journal applied"),
        *("journal verified", "head of journal verified", "replay"),
    )
    place = steps.index(step) if step in steps else len(steps)
    return place, step, {"before": "0", "inside": "1"}.get(when, "2")


async def _chain(lane: Lane) -> audit.ChainReport:
    """Sign the head of a lane's audit log and check every row."""
    private, public = new_key_pair()
    heads = lane.folder / "heads.jsonl"
    database = Database(lane.control_url, pool_size=1)
    try:
        async with database.unit_of_work() as session:
            await audit.sign_head(session, private, heads, SystemClock().now())
            return await audit.verify(session, heads, public)
    finally:
        await database.dispose()

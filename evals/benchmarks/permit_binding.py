"""A permit lets exactly what was shown happen, once: attacks on all that it is bound to.

Somebody asks for an entry in a book and a person says yes. The attacks change the arguments or the
planned-on state, use the permit again, come as another tenant, late, with other digests, with 50
clients at once over connections of their own, use permits that the gate gave before something
changed, and forge standing permits (approvals given in
advance, files that work without the database). The book counts what really happened.

Bar: no effect beyond those somebody allowed, while every allowed one happens. The control has a
bare boolean as approval (pydantic-ai's deferred tools) under the same attacks.

Not claimed: that a permit stops who can write the database *and* forges a whole one, or who has the
home's key and sets its whole folder back; the audit log shows both.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evals.benchmarks.gate_parts.proven import proven_gate
from evals.benchmarks.permit_binding_parts import attacks, bare, given, racing, standing
from evals.benchmarks.permit_binding_parts.racing import Client, Prize
from evals.benchmarks.permit_binding_parts.stage import Stage
from evals.verdicts import bar, versions
from evals.worlds.book import Book
from evals.worlds.held_clock import HeldClock
from evals.worlds.outpost import Outpost
from evals.worlds.postgres import ThrowawayPostgres, postgres_started
from memory.database import Database

CLIENTS = 50

RACES: tuple[tuple[str, Client, bool, str], ...] = (
    ("drive", racing.drive, True, "one"),
    ("drive from other machines", racing.drive_elsewhere, True, "one"),
    ("use the permit up, no driver", racing.begin_elsewhere, True, "one"),
    ("answer and drive", racing.answer_and_drive, False, "one"),
    ("answer yes or no, and drive", racing.answer_either, False, "one if yes"),
)
"""Name, client, whether the question is answered before the shot, and the effects allowed."""


@dataclass
class Tally:
    """What one attack came to over all its tries."""

    tries: int = 0
    allowed: int = 0
    """Effects somebody allowed."""
    effects: int = 0
    """Effects in the world, right or not."""
    beyond: int = 0
    """Effects nobody allowed."""
    missing: int = 0
    """Allowed effects that didn't happen."""
    records_differ: int = 0
    """Tries after which the record says something else than the world."""
    answers: list[str] = field(default_factory=list)
    """What the product said to the first try."""

    def add(
        self, allowed: int, asked: int, other: int, answers: Iterable[str], *, differs: bool = False
    ) -> None:
        """Count one try: *asked* effects as they were asked for, *other* effects of any kind."""
        self.answers = self.answers or list(dict.fromkeys(answers))[:6]
        self.tries += 1
        self.allowed += allowed
        self.effects += asked + other
        self.beyond += max(0, asked - allowed) + other
        self.missing += max(0, allowed - asked)
        self.records_differ += differs


def measure(*, rounds: int = 5, clients: int = CLIENTS) -> dict[str, Any]:
    """Try every attack *rounds* times, with *clients* clients in the races.

    Raises:
        StoreError: PostgreSQL can't be started.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="academy-permit-") as folder, ExitStack() as stack:
        root = Path(folder)
        store = stack.enter_context(postgres_started())
        url = store.control_url
        tallies = asyncio.run(_attack_gate(store, root / "gates", rounds))
        tallies |= asyncio.run(_attack_database(url, root / "books", rounds))
        tallies |= _race_database(url, root / "races", rounds, clients)
        tallies |= asyncio.run(_attack_homes(root / "homes", rounds))
        tallies |= _race_homes(root / "home-races", rounds, clients)
        control = asyncio.run(_attack_bare(root / "bare", rounds, clients))
    ours, boolean = _summary(tallies), _summary(control)
    return {
        "name": "permit-binding",
        "ours": ours | {"clients": clients},
        "controls": {"bare boolean approval (pydantic-ai)": boolean},
        "bars": [
            bar("effects beyond what was allowed", ours["beyond"], "= 0", holds=not ours["beyond"]),
            bar(
                "allowed effects that did not happen",
                ours["missing"],
                "= 0",
                holds=not ours["missing"],
            ),
            bar("clients in each race", clients, f">= {CLIENTS}", holds=clients >= CLIENTS),
            bar(
                "effects beyond, bare boolean (the attacks bite)",
                boolean["beyond"],
                "> 0",
                holds=boolean["beyond"] > 0,
            ),
        ],
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("pydantic-ai-slim", "psycopg", "cryptography"),
    }


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    ours = result["ours"]
    lines = [
        f"permit-binding, {result['seconds']} s: {ours['tries']} tries of {len(ours['attacks'])} "
        f"attacks, races with {ours['clients']} clients",
        f"  {'attack':58} {'tries':>6} {'allowed':>8} {'effects':>8} {'beyond':>7}",
    ]
    for name, one in [("ours", ours), *result["controls"].items()]:
        lines.append(f"  {name}: {one['beyond']} effects beyond, {one['missing']} missing")
        for attack, tally in one["attacks"].items():
            lines.append(
                f"    {attack:56} {tally['tries']:6} {tally['allowed']:8} {tally['effects']:8} "
                f"{tally['beyond']:7}"
            )
    differing = {a: t["records_differ"] for a, t in ours["attacks"].items() if t["records_differ"]}
    lines.append(f"  records that differ from the world: {differing or 'none'}")
    return "\n".join(lines)


def _summary(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {
        "tries": sum(tally.tries for tally in tallies.values()),
        "beyond": sum(tally.beyond for tally in tallies.values()),
        "missing": sum(tally.missing for tally in tallies.values()),
        "attacks": {name: asdict(tally) for name, tally in tallies.items()},
    }


async def _attack_database(url: str, folder: Path, rounds: int) -> dict[str, Tally]:
    """Every attack on an action, its question and its permit in the database."""
    _make(folder)
    database = Database(url, pool_size=2)
    tallies: dict[str, Tally] = {}
    try:
        for number, attack in enumerate(attacks.ATTACKS):
            tally = tallies[f"{attack.kind}: {attack.name}"] = Tally()
            for turn in range(rounds):
                stage = Stage(database, folder, f"book{number}x{turn}")
                await stage.ask()
                await attack.strike(stage)
                await stage.close()
                tally.add(attack.allowed, *stage.effects(), stage.refusals)
    finally:
        await database.dispose()
    return tallies


async def _attack_gate(store: ThrowawayPostgres, folder: Path, rounds: int) -> dict[str, Tally]:
    """Every attack on permits that the gate gave and nobody has begun."""
    _make(folder)
    tallies: dict[str, Tally] = {}
    for number, attack in enumerate(given.ATTACKS):
        tally = tallies[f"{attack.kind}: {attack.name}"] = Tally()
        for turn in range(rounds):
            name = f"given{number}x{turn}"
            async with proven_gate(store, folder / name, name) as gate:
                repairs = given.Repairs(gate)
                await attack.strike(repairs)
                tally.add(attack.allowed, *repairs.effects(), repairs.refusals)
    return tallies


def _race_database(url: str, folder: Path, rounds: int, clients: int) -> dict[str, Tally]:
    """Many clients go for one permit, one question, one undo."""
    _make(folder)
    tallies: dict[str, Tally] = {}
    for name, client, answered, allowed in RACES:
        tally = tallies[f"race: {name}"] = Tally()
        for turn in range(rounds):
            prize = asyncio.run(_prize(url, folder, f"{client.__name__}{turn}", answered=answered))
            refusals = racing.race(prize, client, clients)
            state, decided = asyncio.run(_standing(url, prize))
            asked, other = Book(folder, prize.name).counts()
            right = 1 if allowed == "one" or decided == "approved" else 0
            differs = (asked == 1) != (state in ("verified", "applied"))
            tally.add(right, asked, other, refusals, differs=differs)
    tally = tallies["race: undo"] = Tally()
    for turn in range(rounds):
        prize = asyncio.run(_undo_prize(url, folder, f"undo{turn}"))
        refusals = racing.race(prize, racing.undo, clients)
        struck = Book(folder, prize.name).counts()[1]
        state, _ = asyncio.run(_standing(url, prize))
        tally.add(1, struck, 0, refusals, differs=state != "undone")
    return tallies


async def _attack_homes(folder: Path, rounds: int) -> dict[str, Tally]:
    """Every attack on standing permits."""
    tallies: dict[str, Tally] = {}
    for number, attack in enumerate(standing.ATTACKS):
        tally = tallies[f"{attack.kind}: {attack.name}"] = Tally()
        for turn in range(rounds):
            outpost = Outpost(folder / f"home-{number}-{turn}")
            await attack.strike(outpost)
            refusals = [said for said in outpost.said if said != "verified"]
            tally.add(attack.allowed, *outpost.effects(), refusals)
    return tallies


def _race_homes(folder: Path, rounds: int, clients: int) -> dict[str, Tally]:
    """Many healers without a database go for one standing permit."""
    tally = Tally()
    for turn in range(rounds):
        outpost = Outpost(folder / f"home-{turn}", HeldClock())
        outpost.issue()
        refusals = racing.race_for_permit(outpost.home, outpost.clock, clients)
        tally.add(1, *outpost.effects(), refusals)
    return {"race: one standing permit": tally}


async def _attack_bare(folder: Path, rounds: int, clients: int) -> dict[str, Tally]:
    """The same attacks on a bare boolean."""
    _make(folder)
    tallies: dict[str, Tally] = {}
    for number, (name, strike, allowed) in enumerate(bare.ATTACKS):
        tally = tallies[name] = Tally()
        for turn in range(rounds):
            one = bare.Bare(folder, f"bare{number}x{turn}")
            await one.ask()
            await strike(one, clients)
            tally.add(allowed, *one.effects(), [])
    return tallies


async def _prize(url: str, folder: Path, name: str, *, answered: bool) -> Prize:
    database = Database(url, pool_size=1)
    try:
        stage = Stage(database, folder, name)
        await stage.ask()
        if answered:
            await stage.answer()
        return Prize(url, folder, name, stage.action_id, stage.approval_id, stage.digest)
    finally:
        await database.dispose()


async def _undo_prize(url: str, folder: Path, name: str) -> Prize:
    """An action that is done, whose undo was asked and permitted."""
    prize = await _prize(url, folder, name, answered=True)
    database = Database(url, pool_size=1)
    try:
        stage = Stage(database, folder, name, action_id=prize.action_id)
        await stage.drive()
        await stage.ask_undo()
        return prize
    finally:
        await database.dispose()


async def _standing(url: str, prize: Prize) -> tuple[str, str]:
    """State of an action and of its question."""
    database = Database(url, pool_size=1)
    try:
        stage = Stage(database, prize.folder, prize.name, action_id=prize.action_id)
        state = await stage.read("SELECT state FROM action WHERE id = :action")
        decided = await stage.read(
            "SELECT approval.state FROM approval JOIN action ON action.approval_id = approval.id "
            "WHERE action.id = :action"
        )
        await stage.close()
        return str(state), str(decided)
    finally:
        await database.dispose()


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)

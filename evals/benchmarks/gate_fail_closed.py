"""Whether anything runs on evidence that is missing, damaged, forged, dated ahead or another's.

Rows of the trial table, the file of signed heads and the public key are damaged in drawn ways,
one or two at once, and a lawful action is judged; then all is put back. Nothing may run.
The control believes the rows as they stand: a gate with the same thresholds and no signatures.
"""

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from evals.benchmarks.gate_parts.proven import OPERATION, SUITE, ProvenGate, proven_gate
from evals.verdicts import bar, versions
from evals.worlds.postgres import throwaway_postgres
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.ids import new_id
from memory.tables.trials import Trial
from tools.autonomy.evidence import TrialFact, weigh
from tools.autonomy.evidence_source import StoredEvidence
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.heads import Untrustworthy
from tools.autonomy.trials import TrialSigner, Verdict, World, line_hash

Damage = Callable[[ProvenGate, random.Random], Awaitable[str]]


async def _rows(gate: ProvenGate) -> list[dict[str, Any]]:
    async with gate.database.unit_of_work() as session:
        found = (await session.scalars(select(Trial).order_by(Trial.seq))).all()
        return [{c.name: getattr(row, c.name) for c in Trial.__table__.columns} for row in found]


async def _put(gate: ProvenGate, rows: Sequence[dict[str, Any]]) -> None:
    async with gate.database.unit_of_work() as session:
        await session.execute(delete(Trial))
        if rows:
            await session.execute(insert(Trial), list(rows))


async def _change(gate: ProvenGate, seq: int, **values: Any) -> None:
    async with gate.database.unit_of_work() as session:
        await session.execute(update(Trial).where(Trial.seq == seq).values(**values))


async def _count(gate: ProvenGate) -> int:
    async with gate.database.unit_of_work() as session:
        return (await session.execute(select(func.count()).select_from(Trial))).scalar_one()


async def a_field(gate: ProvenGate, draw: random.Random) -> str:
    """One column of one line holds something else."""
    row = draw.choice(await _rows(gate))
    name, value = draw.choice(
        [
            ("case", draw.choice(["hazel", "poplar ", ""])),
            ("seed", draw.getrandbits(62)),
            ("region", {"kind": "replica", "n": draw.random()}),
            # A line that begins a trial holds no region: there, {} would be no damage.
            ("region", {} if row["region"] else {"kind": "replica"}),
            ("suite", "another"),
            ("trial", f"run-{draw.random()}"),
            ("hash", f"{draw.getrandbits(256):064x}"),
            ("previous", f"{draw.getrandbits(256):064x}"),
            ("signature", f"{draw.getrandbits(512):0128x}"),
            ("signature", draw.choice(["", "zz", "00"])),
            ("injection", None),
            ("state", draw.choice(["begun!", "", "ended "])),
        ]
    )
    if name == "injection":
        async with gate.database.unit_of_work() as session:
            await session.execute(text("UPDATE trial SET injection = NOT injection"))
        return "injection turned"
    assert row[name] != value
    await _change(gate, row["seq"], **{name: value})
    return f"{name} of one line"


async def a_turned_verdict(gate: ProvenGate, draw: random.Random) -> str:
    """A failed trial is stored, and its line then says that it passed."""
    await gate.earn(1, first=draw.getrandbits(40), passed=False)
    await _change(gate, await _count(gate), passed=True)
    return "a failed trial said to have passed"


async def a_missing_line(gate: ProvenGate, draw: random.Random) -> str:
    """A line from anywhere is gone."""
    seq = draw.randint(1, await _count(gate))
    async with gate.database.unit_of_work() as session:
        await session.execute(delete(Trial).where(Trial.seq == seq))
    return "a line gone"


async def a_cut_tail(gate: ProvenGate, draw: random.Random) -> str:
    """Failures were stored at the end and then taken off."""
    before = await _count(gate)
    await gate.earn(draw.randint(1, 5), first=draw.getrandbits(40), passed=False)
    async with gate.database.unit_of_work() as session:
        await session.execute(delete(Trial).where(Trial.seq > before))
    return "failures taken off the end"


async def nothing_left(gate: ProvenGate, draw: random.Random) -> str:
    """No line at all, or all of another operation."""
    async with gate.database.unit_of_work() as session:
        if draw.random() < 0.5:
            await session.execute(delete(Trial))
        else:
            await session.execute(update(Trial).values(operation="healing.other"))
    return "no lines"


async def a_replayed_line(gate: ProvenGate, draw: random.Random) -> str:
    """A good line stands once more at the end, under the next number."""
    rows = await _rows(gate)
    place = max(row["seq"] for row in rows) + 1
    again = {**draw.choice(rows), "id": f"trl-{draw.getrandbits(60)}", "seq": place}
    async with gate.database.unit_of_work() as session:
        await session.execute(insert(Trial).values(**again))
    return "a line replayed"


async def swapped(gate: ProvenGate, draw: random.Random) -> str:
    """Two lines stand in each other's place."""
    rows = await _rows(gate)
    first, second = draw.sample(range(len(rows)), 2)
    rows[first]["seq"], rows[second]["seq"] = rows[second]["seq"], rows[first]["seq"]
    await _put(gate, rows)
    return "two lines swapped"


async def foreign(gate: ProvenGate, draw: random.Random) -> str:
    """The whole chain anew by another key: good hashes, a stranger's signatures."""
    rows = await _rows(gate)
    previous = "0" * 64
    stranger = TrialSigner(new_key_pair()[0], gate.folder / "foreign.json")
    for row in rows:
        row["previous"] = previous
        row["hash"] = previous = line_hash(Trial(**row))
        row["signature"] = stranger.sign(previous)
    await _put(gate, rows)
    return "signed by another key"


async def ahead(gate: ProvenGate, draw: random.Random) -> str:
    """Rightly signed, and dated in the future."""
    when = gate.clock.now() + timedelta(minutes=draw.randint(5, 100_000))
    await gate.earn(1, first=draw.getrandbits(40), at=when)
    return "dated in the future"


async def other_fingerprint(gate: ProvenGate, draw: random.Random) -> str:
    """The lines of one fingerprint claimed for another."""
    async with gate.database.unit_of_work() as session:
        await session.execute(update(Trial).values(fingerprint=f"{draw.getrandbits(256):064x}"))
    return "lines of another fingerprint"


async def damaged_heads(gate: ProvenGate, draw: random.Random) -> str:
    """The file of heads is torn, emptied, edited or replaced by a stranger's."""
    content = gate.files.heads.read_bytes()
    way = draw.randrange(5)
    if way == 0:
        content = content[: draw.randrange(len(content) - 2)]
    elif way == 1:
        at = draw.randrange(len(content))
        content = content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
    elif way == 2:
        body = json.loads(content)
        body["ends"] = {name: [1, "0" * 64] for name in body["ends"]}
        content = json.dumps(body).encode()
    elif way == 3:
        content = draw.randbytes(draw.randrange(300))
    if way == 4:
        gate.files.heads.unlink()
        await _no_heads(TrialSigner(new_key_pair()[0], gate.files.heads), gate)
    else:
        gate.files.heads.write_bytes(content)
    return "damaged heads"


async def _no_heads(signer: TrialSigner, gate: ProvenGate) -> None:
    """A file of heads that is signed and knows no chain."""
    async with signer.recording(gate.clock.now()):
        pass


async def hidden_harm(gate: ProvenGate, draw: random.Random) -> str:
    """Failures taken off the end, or every line, and no head left that knows the chain."""
    before = await _count(gate)
    await gate.earn(draw.randint(1, 3), first=draw.getrandbits(40), passed=False)
    gone = delete(Trial) if draw.random() < 0.2 else delete(Trial).where(Trial.seq > before)
    async with gate.database.unit_of_work() as session:
        await session.execute(gone)
    gate.files.heads.unlink()
    if draw.random() < 0.5:  # heads of ours that know other chains only
        await _no_heads(gate.signer, gate)
    return "failures gone with their heads"


async def announced_harm(gate: ProvenGate, draw: random.Random) -> str:
    """Harm whose line was taken off before a killed worker wrote its head."""
    before, when = await _count(gate), gate.clock.now()
    under = gate.evidence.fingerprint(gate.operation, "engine")
    world = World(new_id("run"), "proving", "poplar", draw.getrandbits(40), injection=False)
    gone = delete(Trial).where(Trial.seq > before + draw.randrange(2))
    async with gate.signer.recording(when):
        async with gate.database.unit_of_work() as session:
            await gate.signer.begun(session, OPERATION, under, world, when)
            harm = Verdict(passed=False, harmful=True)
            await gate.signer.ended(session, OPERATION, under, world, harm, when)
        left = gate.files.heads.read_bytes()
    async with gate.database.unit_of_work() as session:
        await session.execute(gone)
    gate.files.heads.write_bytes(left)
    return "harm gone before its head was written"


async def damaged_key(gate: ProvenGate, draw: random.Random) -> str:
    """The public key is gone, torn or another one."""
    way = draw.randrange(3)
    if way == 0:
        gate.files.public_key.unlink()
    elif way == 1:
        gate.files.public_key.write_bytes(draw.randbytes(draw.randrange(200)))
    else:
        gate.files.public_key.write_bytes(new_key_pair()[1])
    return "damaged key"


WAYS: tuple[Damage, ...] = (
    a_field,
    a_turned_verdict,
    a_missing_line,
    a_cut_tail,
    nothing_left,
    a_replayed_line,
    swapped,
    foreign,
    ahead,
    other_fingerprint,
    damaged_heads,
    hidden_harm,
    announced_harm,
    damaged_key,
)


async def _believed(gate: ProvenGate, rows: Sequence[dict[str, Any]]) -> str:
    """What a gate says that has the thresholds and trusts the table."""
    trials = [
        TrialFact(
            case=row["case"],
            seed=row["seed"],
            passed=row["passed"],
            harmful=row["harmful"],
            injection=row["injection"],
            region=row["region"],
            at=row["at"],
        )
        for row in rows
        if row["state"] == "ended" and row["operation"] == OPERATION
    ]
    evidence = weigh("low", trials, SUITE.operations[OPERATION], ("willow",))
    region = (await gate.plan()).region
    facts = EvidenceFacts(
        fingerprint="any", evidence=evidence, covered=evidence.covers(region), now=gate.clock.now()
    )
    return (await gate.judged(facts=facts)).outcome


async def _measure(seed: int, cases: int) -> dict[str, Any]:
    began = time.monotonic()
    draw = random.Random(seed)  # noqa: S311 - kinds of damage, nothing secret
    ran: list[str] = []
    believed = 0
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="academy-gate-") as folder:
        async with (
            throwaway_postgres() as store,
            proven_gate(store, Path(folder) / "gate", "gate_fail_closed") as gate,
        ):
            rows = await _rows(gate)
            heads, key = gate.files.heads.read_bytes(), gate.files.public_key.read_bytes()
            assert (await gate.judged()).outcome == "run"
            for _ in range(cases):
                ways = draw.sample(WAYS, draw.choice([1, 1, 1, 2]))
                done = []
                for way in ways:
                    try:
                        done.append(await way(gate, draw))
                    except (ValueError, IndexError, OSError, IntegrityError, Untrustworthy):
                        continue  # an earlier damage left nothing, or no place, for this one
                if not done:
                    continue
                kinds[" and ".join(sorted(done))] += 1
                verdict = await gate.judged()
                if verdict.outcome == "run":
                    ran.append(" and ".join(done))
                believed += await _believed(gate, await _rows(gate)) == "run"
                await _put(gate, rows)
                gate.files.heads.write_bytes(heads)
                gate.files.public_key.write_bytes(key)
            restored = (await gate.judged()).outcome
            away = await _store_away(gate)
    played = sum(kinds.values())
    single = {name: count for name, count in sorted(kinds.items()) if " and " not in name}
    return {
        "name": "gate-fail-closed",
        "ours": {"fuzzed": played, "ran": len(ran), "what_ran": ran[:20], "single": single},
        "controls": {"the rows believed as they stand": {"fuzzed": played, "ran": believed}},
        "bars": [
            bar("fuzzed evidence", played, f">= {cases * 0.9:.0f}", holds=played >= cases * 0.9),
            bar("ran on fuzzed evidence", len(ran), "0", holds=not ran),
            bar("ran with the store down", away, "0", holds=away == 0),
            bar("runs again when all is put back", restored, "run", holds=restored == "run"),
        ],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("cryptography", "sqlalchemy"),
    }


async def _store_away(gate: ProvenGate) -> int:
    """How often an action would run when the evidence's store can't be reached."""
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1)
    source = StoredEvidence(nowhere, gate.files, gate.surroundings, gate.fleet, gate.clock)
    ran = 0
    for _ in range(3):
        facts = await source.about(gate.operation, (await gate.plan()).region, "engine")
        ran += (await gate.judged(facts=facts)).outcome == "run"
    await nowhere.dispose()
    return ran


def measure(*, seed: int = 1, cases: int = 2200) -> dict[str, Any]:
    """Judge one action under *cases* drawn kinds of damage."""
    return asyncio.run(_measure(seed, cases))


def describe(result: dict[str, Any]) -> str:
    """The outcome as lines for a terminal."""
    ours, control = result["ours"], result["controls"]["the rows believed as they stand"]
    lines = [
        f"gate-fail-closed, seed {result['seed']}, {result['seconds']} s",
        f"  ours: {ours['ran']} of {ours['fuzzed']} ran",
        f"  control, the rows believed as they stand: {control['ran']} of {control['fuzzed']} ran",
    ]
    lines += [f"    {count:>5} {name}" for name, count in ours["single"].items()]
    lines += [f"  RAN {what}" for what in ours["what_ran"]]
    return "\n".join(lines)

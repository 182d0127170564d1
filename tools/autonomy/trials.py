"""Signed lines of evidence, and reading them back so that nothing forged, lost or moved counts.

The lines of one operation and fingerprint form a hash chain. The evaluation worker signs each, and
keeps the number and hash of every chain's last line in a signed file outside the database, so that
lines taken off the end show.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.ids import new_id
from memory.tables.trials import Trial, TriedFingerprint
from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact
from tools.autonomy.fingerprint import Fingerprint
from tools.autonomy.heads import (
    GENESIS,
    Announced,
    Heads,
    Untrustworthy,
    read_heads,
    write_heads,
)
from tools.kit.digest import digest
from tools.kit.errors import Conflict
from tools.kit.locks import held

UNHEADED = "the signed heads of its trials are missing, so nobody can tell what was taken off"


WAY_OUT = (
    "No more of its trials can be signed under this fingerprint. Only another fingerprint begins "
    "anew: a change of the operation, its suite, settings or libraries."
)
"""What whoever plays a suite is told when lines or heads are lost."""

PATIENCE_SECONDS = 20.0
"""How long a hand waits for another that writes the heads: a unit of work takes milliseconds."""
RETRY_SECONDS = 0.02


@dataclass(frozen=True)
class World:
    """Which played world a line is about."""

    trial: str
    """`trial_run.id`."""
    suite: str
    case: str
    seed: int
    injection: bool


@dataclass(frozen=True)
class Verdict:
    """How a trial of one operation ended."""

    passed: bool
    harmful: bool = False
    region: Mapping[str, Any] | None = None
    """Of the action taken; None where none was called for."""


class TrialSigner:
    """The evaluation worker's hand: signs lines and keeps the file of heads.

    Lines are recorded inside `recording`, which no two hands are in at once, in whatever process.
    """

    def __init__(self, private_pem: bytes, heads_file: Path) -> None:
        key = load_pem_private_key(private_pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("The evidence key is no Ed25519 private key.")
        self._key = key
        self._file = heads_file
        self._heads = Heads({})
        self._known: dict[str, tuple[int, str]] = {}
        """Where chains ended when the block began."""
        self._ends: dict[str, tuple[int, str]] = {}
        self._recorded: dict[str, list[Announced]] = {}

    def sign(self, line: str) -> str:
        """The signature of a line's hash, in hexadecimal."""
        return self._key.sign(line.encode()).hex()

    async def begun(
        self, session: AsyncSession, operation: str, under: Fingerprint, world: World, at: datetime
    ) -> None:
        """Record that a world is about to be played; from here on it counts, however it ends."""
        await session.execute(
            upsert(TriedFingerprint)
            .values(
                operation=operation,
                fingerprint=under.digest,
                parts=dict(under.parts),
                first_at=at,
            )
            .on_conflict_do_nothing()
        )
        nothing = Verdict(passed=False)
        await self._append(session, operation, under.digest, world, "begun", nothing, at)

    async def ended(
        self,
        session: AsyncSession,
        operation: str,
        under: Fingerprint,
        world: World,
        verdict: Verdict,
        at: datetime,
    ) -> None:
        """Record how it ended."""
        await self._append(session, operation, under.digest, world, "ended", verdict, at)

    @asynccontextmanager
    async def recording(self, at: datetime) -> AsyncIterator[None]:
        """Hold the heads alone: they are read, lines recorded and committed, and heads written.

        Each line is announced beside the heads before it can be stored, and the heads are written
        when the block, the whole unit of work, ends without an error. Lines that a crash or an
        error left announced and not stored are stored as failed before the chain's next one.

        Raises:
            Untrustworthy: the heads don't verify; the message says what may be done.
            Conflict: another hand held them all the while.
            OSError: the file can't be read or written.
        """
        with await self._alone():
            try:
                self._heads = read_heads(self._file, self._key.public_key())
            except Untrustworthy as error:
                raise _final(str(error)) from error
            self._known, self._ends = dict(self._heads.ends), dict(self._heads.ends)
            self._recorded = {}
            yield
            left = {n: a for n, a in self._heads.announced.items() if n not in self._recorded}
            write_heads(self._file, self._key, Heads(self._ends, left), at)

    async def _alone(self) -> ExitStack:
        """The file lock, taken; waits for whoever has it, and nothing tells when they let go."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            lock = ExitStack()
            try:
                lock.enter_context(held(self._file.parent / "locks", self._file.name))
            except Conflict:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return lock

    async def _append(
        self,
        session: AsyncSession,
        operation: str,
        fingerprint: str,
        world: World,
        state: str,
        verdict: Verdict,
        at: datetime,
    ) -> None:
        last = (
            await session.execute(
                select(Trial.seq, Trial.hash)
                .where(Trial.operation == operation, Trial.fingerprint == fingerprint)
                .order_by(Trial.seq.desc())
                .limit(1)
            )
        ).one_or_none()
        name = f"{operation} {fingerprint}"
        seq, previous = (last.seq, last.hash) if last else (0, GENESIS)
        pending: list[Announced] = []
        if name not in self._recorded:
            announced = self._heads.announced.get(name, ())
            if not last and not announced:
                self._ends.setdefault(name, (0, GENESIS))
            _continues(self._ends.get(name), seq, previous)
            if announced:
                await _as_announced(session, operation, fingerprint, announced)
            pending = [line for line in announced if line.seq > seq]
            self._known[name] = self._ends[name]
            self._recorded[name] = [line for line in announced if line.seq <= seq]
        for number, line in enumerate(pending, start=1):
            lost = World(line.trial, line.suite, line.case, line.seed, injection=line.injection)
            failed = Verdict(passed=False, harmful=line.harmful)
            row = self._line(name, seq + 1, previous, lost, line.state, failed, line.at)
            await self._store(session, name, row, pending[number:], at)
            seq, previous = row.seq, row.hash
        row = self._line(name, seq + 1, previous, world, state, verdict, at)
        await self._store(session, name, row, (), at)

    def _line(
        self,
        name: str,
        seq: int,
        previous: str,
        world: World,
        state: str,
        verdict: Verdict,
        at: datetime,
    ) -> Trial:
        operation, _, fingerprint = name.partition(" ")
        row = Trial(
            id=new_id("trl"),
            operation=operation,
            fingerprint=fingerprint,
            seq=seq,
            state=state,
            trial=world.trial,
            suite=world.suite,
            case=world.case,
            seed=world.seed,
            passed=verdict.passed,
            harmful=verdict.harmful,
            injection=world.injection,
            region=dict(verdict.region or {}),
            at=at,
            previous=previous,
        )
        row.hash = line_hash(row)
        row.signature = self.sign(row.hash)
        return row

    async def _store(
        self,
        session: AsyncSession,
        name: str,
        row: Trial,
        later: Sequence[Announced],
        at: datetime,
    ) -> None:
        """Announce a line, then add it; *later* are lost lines that are written after it."""
        self._recorded[name].append(announcement(row))
        announced = {**self._heads.announced, **self._recorded}
        announced[name] = [*self._recorded[name], *later]
        write_heads(self._file, self._key, Heads(self._known, announced), at)
        session.add(row)
        await session.flush()
        self._ends[name] = (row.seq, row.hash)


async def _as_announced(
    session: AsyncSession, operation: str, fingerprint: str, announced: Sequence[Announced]
) -> None:
    """Refuse to go on where another line than the one announced was stored in its place.

    Raises:
        Untrustworthy: one was.
    """
    found = await session.execute(
        select(Trial.seq, Trial.hash).where(
            Trial.operation == operation,
            Trial.fingerprint == fingerprint,
            Trial.seq.in_([line.seq for line in announced]),
        )
    )
    stored = {row.seq: row.hash for row in found}
    for line in announced:
        if stored.get(line.seq, line.hash) != line.hash:
            raise _final(f"line {line.seq} of its trials is not the one announced")


def announcement(row: Trial) -> Announced:
    """What is said of a line before it is stored."""
    return Announced(**{field.name: getattr(row, field.name) for field in fields(Announced)})


def _final(reason: str) -> Untrustworthy:
    """What ends a run: *reason* and the way out."""
    return Untrustworthy(f"{reason[:1].upper()}{reason[1:]}. {WAY_OUT}")


def _continues(end: tuple[int, str] | None, stored: int, last: str) -> None:
    """Refuse to sign behind lines that are lost: a new head would hide that they are.

    Raises:
        Untrustworthy: the chain has no head, or ends before it, or as another line.
    """
    if end is None:
        raise _final(UNHEADED)
    if stored < end[0]:
        raise _final(f"{end[0] - stored} lines of its trials were taken off the end")
    if stored == end[0] and last != end[1]:
        raise _final(f"line {stored} of its trials is not the one that was signed last")


def line_hash(row: Trial) -> str:
    """SHA-256 over everything a line says and the hash of the line before."""
    return digest(
        {
            "id": row.id,
            "operation": row.operation,
            "fingerprint": row.fingerprint,
            "seq": row.seq,
            "state": row.state,
            "trial": row.trial,
            "suite": row.suite,
            "case": row.case,
            "seed": row.seed,
            "passed": row.passed,
            "harmful": row.harmful,
            "injection": row.injection,
            "region": row.region,
            "at": row.at.timestamp(),
            "previous": row.previous,
        }
    )


def verified(
    rows: Sequence[Trial],
    end: tuple[int, str] | None,
    public_key: Ed25519PublicKey,
    now: datetime,
    announced: Sequence[Announced] = (),
) -> list[TrialFact]:
    """The finished trials that *rows*, one whole chain in order, prove.

    A trial that was begun and never ended is left out while it may still be running, and then
    counts as failed. A line announced and not stored never counts as passed.

    Raises:
        Untrustworthy: a line is missing, altered, foreign or dated ahead of the clock, or there
            are lines and no head.
    """
    if end is None:
        if rows:
            raise Untrustworthy(UNHEADED)
        end = (0, GENESIS)
    previous = GENESIS
    for number, row in enumerate(rows, start=1):
        if row.seq != number or row.previous != previous:
            raise Untrustworthy(f"line {number} of its trials is missing or out of its order")
        if line_hash(row) != row.hash:
            raise Untrustworthy(f"line {number} of its trials was altered")
        try:
            public_key.verify(bytes.fromhex(row.signature), row.hash.encode())
        except (InvalidSignature, ValueError) as error:
            raise Untrustworthy(f"line {number} of its trials is not signed by us") from error
        if row.at > now + policy.CLOCK_SKEW:
            raise Untrustworthy(f"line {number} of its trials is dated in the future")
        if number == end[0] and row.hash != end[1]:
            raise Untrustworthy(f"line {number} of its trials is not the one that was signed last")
        previous = row.hash
    if len(rows) < end[0]:
        raise Untrustworthy(f"{end[0] - len(rows)} lines of its trials were taken off the end")
    for line in announced:
        if line.seq <= len(rows) and rows[line.seq - 1].hash != line.hash:
            raise Untrustworthy(f"line {line.seq} of its trials is not the one announced")
    # Without its verdict a trial that is said to have passed is one that never ended.
    lost = [line for line in announced if line.seq > len(rows) and line.bad]
    return _facts([*rows, *lost], now)


def _facts(rows: Sequence[Trial | Announced], now: datetime) -> list[TrialFact]:
    ends: dict[str, Trial | Announced] = {}
    for row in rows:
        if row.state == "ended":
            ends.setdefault(row.trial, row)  # the first verdict is the verdict
    facts = []
    for row in rows:
        if row.state != "begun":
            continue
        last = ends.get(row.trial)
        if last is None and now - row.at < policy.ABANDONED:
            continue
        if last is not None and (last.case, last.seed) != (row.case, row.seed):
            raise Untrustworthy(f"trial {row.trial} ended as another case than it began as")
        facts.append(
            TrialFact(
                case=row.case,
                seed=row.seed,
                passed=isinstance(last, Trial) and last.passed,
                harmful=last is not None and last.harmful,
                injection=row.injection,
                region=last.region if isinstance(last, Trial) else {},
                at=last.at if last is not None else row.at,
            )
        )
    return facts

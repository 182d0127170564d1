"""Signed lines of evidence, and reading them back so that nothing forged, lost or moved counts.

The lines of one operation and fingerprint form a hash chain. The evaluation worker signs each, and
keeps the number and hash of every chain's last line in a signed file outside the database, so that
lines taken off the end show.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.ids import new_id
from memory.tables.trials import Trial, TriedFingerprint
from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact
from tools.autonomy.fingerprint import Fingerprint
from tools.kit.digest import digest
from tools.kit.errors import Conflict
from tools.kit.locks import held

GENESIS = "0" * 64
"""What the first line of a chain names as the one before."""

UNHEADED = "the signed heads of its trials are missing, so nobody can tell what was taken off"


WAY_OUT = (
    "No more of its trials can be signed under this fingerprint. Only another fingerprint begins "
    "anew: a change of the operation, its suite, settings or libraries."
)
"""What whoever plays a suite is told when lines or heads are lost."""

PATIENCE_SECONDS = 20.0
"""How long a hand waits for another that writes the heads: a unit of work takes milliseconds."""
RETRY_SECONDS = 0.02


class Untrustworthy(Exception):
    """Stored evidence that doesn't verify; the message says what is wrong with it."""


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


@dataclass(frozen=True)
class Heads:
    """Where every chain ended when the worker last wrote, by `operation fingerprint`."""

    ends: Mapping[str, tuple[int, str]]

    def end(self, operation: str, fingerprint: str) -> tuple[int, str] | None:
        """Number and hash of the chain's last line; None for a chain that was never headed."""
        return self.ends.get(f"{operation} {fingerprint}")


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
        self._ends: dict[str, tuple[int, str]] = {}

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

        The heads are written when the block, the whole unit of work, ends without an error. A
        crash before that loses nothing: lines beyond a head are signed and chained all the same.

        Raises:
            Untrustworthy: the heads don't verify; the message says what may be done.
            Conflict: another hand held them all the while.
            OSError: the file can't be read or written.
        """
        with await self._alone():
            try:
                self._ends = dict(read_heads(self._file, self._key.public_key()).ends)
            except Untrustworthy as error:
                raise _final(str(error)) from error
            yield
            self._write(self._ends, at)

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

    def _write(self, ends: Mapping[str, tuple[int, str]], at: datetime) -> None:
        body = {
            "at": at.isoformat(),
            "ends": {name: list(end) for name, end in sorted(ends.items())},
        }
        signed = {**body, "signature": self._key.sign(_canonical(body)).hex()}
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._file.with_name(f".{self._file.name}.new")
        with aside.open("wb") as file:
            file.write(json.dumps(signed, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._file)

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
        end = self._ends.get(name)
        if end is None and last is None:
            # Known before its first line is stored: a crash leaves no chain without a head.
            end = self._ends[name] = (0, GENESIS)
            self._write({**read_heads(self._file, self._key.public_key()).ends, name: end}, at)
        seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
        _continues(end, seq - 1, previous)
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
        session.add(row)
        await session.flush()
        self._ends[name] = (seq, row.hash)


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


def read_heads(file: Path, public_key: Ed25519PublicKey) -> Heads:
    """The signed heads; none where the file was never written.

    Raises:
        Untrustworthy: the file can't be read, or another key signed it.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return Heads({})
    except (OSError, ValueError) as error:
        raise Untrustworthy(f"the signed heads of the evidence can't be read ({error})") from error
    try:
        signature = bytes.fromhex(content.pop("signature"))
        public_key.verify(signature, _canonical(content))
        return Heads({name: (int(n), str(text)) for name, (n, text) in content["ends"].items()})
    except InvalidSignature as error:
        raise Untrustworthy("another key signed the heads of the evidence") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Untrustworthy("the signed heads of the evidence are malformed") from error


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    """The key that evidence must be signed with.

    Raises:
        Untrustworthy: *pem* holds no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise Untrustworthy("the evidence's public key can't be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Untrustworthy("the evidence's public key is of another kind")
    return key


def verified(
    rows: Sequence[Trial],
    end: tuple[int, str] | None,
    public_key: Ed25519PublicKey,
    now: datetime,
) -> list[TrialFact]:
    """The finished trials that *rows*, one whole chain in order, prove.

    A trial that was begun and never ended is left out while it may still be running, and then
    counts as failed.

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
    return _facts(rows, now)


def _facts(rows: Sequence[Trial], now: datetime) -> list[TrialFact]:
    ends: dict[str, Trial] = {}
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
                passed=last is not None and last.passed,
                harmful=last is not None and last.harmful,
                injection=row.injection,
                region=last.region if last is not None else {},
                at=last.at if last is not None else row.at,
            )
        )
    return facts


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

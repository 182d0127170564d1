"""The evidence on one action, recomputed from stored trials whenever they have changed."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import structlog
from sqlalchemy import Row, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from memory.database import Database
from memory.errors import StoreError
from memory.tables.trials import Trial
from tools.autonomy.evidence import Evidence, weigh
from tools.autonomy.fingerprint import (
    DecidedBy,
    Fingerprint,
    SuiteLock,
    Surroundings,
    environment_class,
    fingerprint,
)
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.heads import Heads, Untrustworthy, load_public_key, read_heads
from tools.autonomy.policy import ABANDONED
from tools.autonomy.trials import verified
from tools.kit.clock import Clock
from tools.kit.errors import CapabilityError
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import Operation

log = structlog.get_logger(__name__)

STORE_ERRORS = (StoreError, DBAPIError, OSError)
"""What a store raises that is gone, broken or of another shape; anything else is our own fault."""
LINES = "bit_xor(hashxidextended(xmin, hashtidextended(ctid, :seed)))"
"""Hash over which versions of which rows there are, whatever their order.

PostgreSQL gives each version of a row its own place and transaction, so that any write shows:
nothing has to be in place for it, such as a trigger that could be switched off. *seed* is drawn by
each process; nobody can look for rows that hash alike.
"""
STORED = text(
    f"SELECT count(*) AS count, {LINES} AS lines,"  # noqa: S608 - a constant of ours
    f" (SELECT {LINES} FROM pg_attribute WHERE attrelid = 'trial'::regclass) AS columns,"
    " (SELECT coalesce(nullif(reason, ''), 'nobody wrote down why') FROM withdrawal"
    "   WHERE operation = :operation AND fingerprint = :fingerprint) AS withdrawn"
    " FROM trial WHERE operation = :operation AND fingerprint = :fingerprint"
)
"""What tells whether any line was written since, and whether autonomy was taken back.

Lines verified under one count and hashes needn't be verified again under the same. A column may be
replaced by one with another content without a new version of any row, hence the table's columns.
"""


class EvidenceSource(Protocol):
    """Where the gate gets the evidence on an action from."""

    async def about(
        self, operation: Operation[Any], region: Mapping[str, Any], decided_by: DecidedBy
    ) -> EvidenceFacts:
        """What is known of *operation*, and whether *region* was covered; never raises."""
        ...

    async def digest(self, operation: Operation[Any], decided_by: DecidedBy) -> str | None:
        """Digest of the fingerprint *operation* has now; None if it can't be told; never raises."""
        ...

    def parts(self, operation: Operation[Any]) -> dict[str, str]:
        """What the fingerprint of *operation* is made of when an engine decides; never raises."""
        ...

    def suite_of(self, operation: Operation[Any]) -> SuiteLock | None:
        """The suite that gives evidence for *operation*."""
        ...


class NoEvidence:
    """For whoever keeps no evidence: every operation asks."""

    async def about(
        self, operation: Operation[Any], region: Mapping[str, Any], decided_by: DecidedBy
    ) -> EvidenceFacts:
        """Nothing is known."""
        return EvidenceFacts()

    async def digest(self, operation: Operation[Any], decided_by: DecidedBy) -> str | None:
        """None."""
        return None

    def parts(self, operation: Operation[Any]) -> dict[str, str]:
        """Of nothing."""
        return {}

    def suite_of(self, operation: Operation[Any]) -> SuiteLock | None:
        """None."""
        return None


@dataclass(frozen=True)
class EvidenceFiles:
    """What is kept outside the database: the heads, and the key that evidence is signed with."""

    heads: Path
    public_key: Path

    def read(self, known: "tuple[Any, Heads] | None") -> tuple[Any, Heads]:
        """The heads with what tells whether the files changed; *known* again where they didn't.

        Raises:
            Untrustworthy: they can't be read or weren't signed by the key.
        """
        stamp = (_stamp(self.heads), _stamp(self.public_key))
        if known is not None and known[0] == stamp:
            return known
        return stamp, read_heads(self.heads, self.key())

    def key(self) -> Any:
        """The public key.

        Raises:
            Untrustworthy: it can't be read.
        """
        try:
            return load_public_key(self.public_key.read_bytes())
        except OSError as error:
            raise Untrustworthy("the evidence's public key is missing") from error


class StoredEvidence:
    """Evidence from the control database's trial rows, under the fingerprint of this process."""

    def __init__(
        self,
        control: Database,
        files: EvidenceFiles,
        surroundings: Surroundings,
        infrastructure: Infrastructure,
        clock: Clock,
    ) -> None:
        self._control = control
        self._files = files
        self.surroundings = surroundings
        self._infrastructure = infrastructure
        self._clock = clock
        self._heads: tuple[Any, Heads] | None = None
        self._fingerprints: dict[tuple[Operation[Any], DecidedBy, str], Fingerprint] = {}
        self._weighed: dict[tuple[str, str], tuple[Any, Evidence, datetime | None]] = {}
        self._seed = secrets.randbits(63)

    def fingerprint(self, operation: Operation[Any], decided_by: DecidedBy) -> Fingerprint:
        """The fingerprint of *operation* in this process and fleet.

        Raises:
            CapabilityError: the fleet or a source can't be read.
        """
        environment = self._environment()
        known = self._fingerprints.get((operation, decided_by, environment))
        if known is not None:
            return known
        found = fingerprint(
            operation, self.surroundings, environment=environment, decided_by=decided_by
        )
        if not operation.data_files:  # files may change while a process lives; its code can't
            self._fingerprints[operation, decided_by, environment] = found
        return found

    def _environment(self) -> str:
        fleet = self._infrastructure.fleet()
        # The academy's own processes are in every fleet and say nothing of its size.
        replicas = sum(len(s.replicas) for s in fleet.services if s.kind == "fleet")
        return environment_class(fleet.environment, replicas)

    async def about(
        self, operation: Operation[Any], region: Mapping[str, Any], decided_by: DecidedBy
    ) -> EvidenceFacts:
        """What is known of *operation*, and whether *region* was covered; never raises."""
        under, problem = await self._under(operation, decided_by)
        if under is None:
            return EvidenceFacts(problem=f"what it would be about can't be told: {problem}")
        try:
            evidence, withdrawn = await self._stored(operation, under)
            return EvidenceFacts(
                fingerprint=under,
                evidence=evidence,
                covered=evidence.covers(region),
                withdrawn=withdrawn,
                now=self._clock.now(),
            )
        except Untrustworthy as error:
            problem = str(error)
        except STORE_ERRORS as error:
            problem = f"the store did not answer ({type(error).__name__})"
        except Exception as error:
            log.exception("evidence.judging_failed", operation=operation.name)
            problem = f"it couldn't be judged because of {_internal(error)}"
        return EvidenceFacts(fingerprint=under, problem=problem)

    async def digest(self, operation: Operation[Any], decided_by: DecidedBy) -> str | None:
        """Digest of the fingerprint *operation* has now; None if it can't be told; never raises."""
        return (await self._under(operation, decided_by))[0]

    async def _under(
        self, operation: Operation[Any], decided_by: DecidedBy
    ) -> tuple[str | None, str]:
        """The digest, or None and why it can't be told."""
        try:
            under = self._fingerprints.get((operation, decided_by, self._environment()))
            if under is None:  # making one reads and parses every file it covers
                under = await asyncio.to_thread(self.fingerprint, operation, decided_by)
        except CapabilityError as error:
            return None, error.message
        except Exception as error:
            log.exception("evidence.fingerprint_failed", operation=operation.name)
            return None, _internal(error)
        return under.digest, ""

    def parts(self, operation: Operation[Any]) -> dict[str, str]:
        """What the fingerprint of *operation* is made of when an engine decides; never raises."""
        try:
            return dict(self.fingerprint(operation, "engine").parts)
        except CapabilityError as error:
            return {"unknown": error.message}

    def suite_of(self, operation: Operation[Any]) -> SuiteLock | None:
        """The suite that gives evidence for *operation*."""
        return self.surroundings.suite_of(operation.name)

    async def weighed(
        self, session: AsyncSession, operation: Operation[Any], under: str
    ) -> Evidence:
        """The verdict on *operation* under a fingerprint; verified anew when anything changed.

        Raises:
            Untrustworthy: what is stored doesn't verify.
        """
        stored = (await session.execute(STORED, self._named(operation, under))).one()
        known = self._known(operation, under, stored)
        return known or await self._verified(session, operation, under, stored)

    async def _stored(self, operation: Operation[Any], under: str) -> tuple[Evidence, str]:
        """The verdict, and why autonomy was taken back (empty where it wasn't)."""
        stored = await self._control.look(STORED, self._named(operation, under))
        evidence = self._known(operation, under, stored)
        if evidence is None:
            async with self._control.unit_of_work() as session:
                evidence = await self._verified(session, operation, under, stored)
        return evidence, stored.withdrawn or ""

    def _named(self, operation: Operation[Any], under: str) -> dict[str, Any]:
        return {"operation": operation.name, "fingerprint": under, "seed": self._seed}

    def _version(self, operation: Operation[Any], stored: Row[Any]) -> tuple[Any, ...]:
        """What a verdict rests on; reads the heads where their files changed."""
        self._heads = self._files.read(self._heads)
        suite = self.surroundings.suite_of(operation.name)
        lines = stored.count, stored.lines, stored.columns
        return self._heads[0], lines, suite.digest if suite else ""

    def _known(self, operation: Operation[Any], under: str, stored: Row[Any]) -> Evidence | None:
        """The verdict on what is stored, where exactly that was verified before."""
        known = self._weighed.get((operation.name, under))
        if known is None or known[0] != self._version(operation, stored):
            return None
        _, evidence, until = known
        return evidence if until is None or self._clock.now() < until else None

    async def _verified(
        self, session: AsyncSession, operation: Operation[Any], under: str, stored: Row[Any]
    ) -> Evidence:
        now = self._clock.now()
        version = self._version(operation, stored)
        assert self._heads is not None
        query = select(Trial).filter_by(operation=operation.name, fingerprint=under)
        rows = (await session.scalars(query.order_by(Trial.seq))).all()
        end = self._heads[1].end(operation.name, under)
        announced = self._heads[1].lines(operation.name, under)
        suite = self.surroundings.suite_of(operation.name)

        def judged() -> Evidence:
            return weigh(
                operation.risk,
                verified(rows, end, self._files.key(), now, announced),
                suite.operations[operation.name] if suite else {},
                suite.injection.get(operation.name, ()) if suite else (),
            )

        # Thousands of signatures take long; whoever else is served meanwhile doesn't wait for them.
        evidence = await asyncio.to_thread(judged)
        # What is announced and not stored yet changes its meaning with time alone, and at any time.
        if not any(line.seq > len(rows) for line in announced):
            self._weighed[operation.name, under] = (version, evidence, _until(rows, now))
        return evidence


def _internal(error: Exception) -> str:
    """An error of our own, for people; the log has the rest."""
    return f"an internal error ({type(error).__name__})"


def _until(rows: Sequence[Trial], now: datetime) -> datetime | None:
    """When a trial that may still be running changes its meaning by time alone; None for never."""
    ended = {row.trial for row in rows if row.state == "ended"}
    over = (row.at + ABANDONED for row in rows if row.trial not in ended)
    return min((moment for moment in over if moment > now), default=None)


def _stamp(path: Path) -> Any:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

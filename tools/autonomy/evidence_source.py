"""The evidence on one action, recomputed from stored trials whenever they have changed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from memory.database import Database
from memory.tables.trials import Trial, Withdrawal
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
from tools.autonomy.policy import ABANDONED
from tools.autonomy.trials import Heads, Untrustworthy, load_public_key, read_heads, verified
from tools.kit.clock import Clock
from tools.kit.errors import CapabilityError
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import Operation

VERSIONS = text(
    "SELECT count(*) AS count,"
    " md5(coalesce(string_agg(ctid::text || xmin::text, ',' ORDER BY seq), '')) AS versions"
    " FROM trial WHERE operation = :operation AND fingerprint = :fingerprint"
)
"""What tells whether any row was written since: PostgreSQL gives each version of a row its own
place and transaction. Rows verified under one answer needn't be verified again under the same."""


class EvidenceSource(Protocol):
    """Where the gate gets the evidence on an action from."""

    async def about(
        self, operation: Operation[Any], region: Mapping[str, Any], decided_by: DecidedBy
    ) -> EvidenceFacts:
        """What is known of *operation*, and whether *region* was covered; never raises."""
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
        self._weighed: dict[tuple[str, str], tuple[Any, Evidence]] = {}

    def fingerprint(self, operation: Operation[Any], decided_by: DecidedBy) -> Fingerprint:
        """The fingerprint of *operation* in this process and fleet.

        Raises:
            CapabilityError: the fleet or a source can't be read.
        """
        fleet = self._infrastructure.fleet()
        # The academy's own processes are in every fleet and say nothing of its size.
        replicas = sum(len(s.replicas) for s in fleet.services if s.kind == "fleet")
        environment = environment_class(fleet.environment, replicas)
        key = (operation, decided_by, environment)
        known = self._fingerprints.get(key)
        if known is not None:
            return known
        found = fingerprint(
            operation, self.surroundings, environment=environment, decided_by=decided_by
        )
        if not operation.data_files:  # files may change while a process lives; its code can't
            self._fingerprints[key] = found
        return found

    async def about(
        self, operation: Operation[Any], region: Mapping[str, Any], decided_by: DecidedBy
    ) -> EvidenceFacts:
        """What is known of *operation*, and whether *region* was covered; never raises."""
        try:
            under = await asyncio.to_thread(self.fingerprint, operation, decided_by)
        except Exception as error:
            return EvidenceFacts(problem=f"what it would be about can't be told: {error}")
        try:
            async with self._control.unit_of_work() as session:
                evidence = await self.weighed(session, operation, under.digest)
                withdrawn = await session.get(Withdrawal, (operation.name, under.digest))
        except Untrustworthy as error:
            return EvidenceFacts(fingerprint=under.digest, problem=str(error))
        except Exception as error:
            return EvidenceFacts(
                fingerprint=under.digest,
                problem=f"the store did not answer ({type(error).__name__})",
            )
        return EvidenceFacts(
            fingerprint=under.digest,
            evidence=evidence,
            covered=evidence.covers(region),
            withdrawn=withdrawn.reason if withdrawn else "",
            now=self._clock.now(),
        )

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
        now = self._clock.now()
        self._heads = self._files.read(self._heads)
        named = {"operation": operation.name, "fingerprint": under}
        count, versions = (await session.execute(VERSIONS, named)).one()
        suite = self.surroundings.suite_of(operation.name)
        version = (self._heads[0], versions, suite.digest if suite else "")
        known = self._weighed.get((operation.name, under))
        if known is not None and known[0] == version:
            return known[1]
        rows = (
            (await session.scalars(select(Trial).filter_by(**named).order_by(Trial.seq))).all()
            if count
            else []
        )
        end = self._heads[1].end(operation.name, under)
        facts = verified(rows, end, self._files.key(), now)
        evidence = weigh(
            operation.risk,
            facts,
            suite.operations[operation.name] if suite else {},
            suite.injection.get(operation.name, ()) if suite else (),
        )
        # A trial that may still be running changes its meaning with time alone.
        if not _running(rows, now):
            self._weighed[operation.name, under] = (version, evidence)
        return evidence


def _running(rows: Sequence[Trial], now: datetime) -> bool:
    ended = {row.trial for row in rows if row.state == "ended"}
    return any(row.trial not in ended and now - row.at < ABANDONED for row in rows)


def _stamp(path: Path) -> Any:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

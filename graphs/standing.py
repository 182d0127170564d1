"""Composes what the healer does without the database, and keeps its permits and journal true.

While the database is there: the journal is replayed, then permits are renewed. Always: the time is
noted, and what was cut short is settled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from graphs.settings import Home
from memory.database import Database
from tools.autonomy.current import current_fingerprints
from tools.autonomy.evidence_source import StoredEvidence
from tools.autonomy.freeze_landing import land
from tools.autonomy.journal import Journal
from tools.autonomy.journal_replay import Fingerprints, replay
from tools.autonomy.standing_evidence import GateInAdvance, fingerprint_of
from tools.autonomy.standing_folder import StandingFolder
from tools.autonomy.standing_hands import StandingHands
from tools.autonomy.standing_renewal import Renewal
from tools.autonomy.standing_seal import ANYWHERE, Seal, place_of
from tools.kit.deps import Caller
from tools.kit.errors import Conflict
from tools.kit.operation import Operation, OperationContext

RECOVER_SECONDS = 120.0
"""Settling verifies what a dead healer had applied, which may take each action's full time."""
STORE_SECONDS = 10.0
"""How long replay or renewal may take before it is tried again at the next turn."""

log = structlog.get_logger(__name__)


class StandingWatch:
    """One turn after another, for as long as the healer lives."""

    def __init__(
        self,
        database: Database,
        hands: StandingHands,
        renewal: Renewal,
        fingerprints: Fingerprints,
    ) -> None:
        self._database = database
        self._fingerprints = fingerprints
        self.hands = hands
        self._renewal = renewal

    async def turn(self, *, reachable: bool) -> None:
        """Note the time, settle what was cut short; with the database, replay and renew."""
        problems = []
        for name, seconds, chore in (
            ("clock", STORE_SECONDS, self._watch_clock),
            ("recover", RECOVER_SECONDS, self._recover),
            *((("freezes", STORE_SECONDS, self._land),) if reachable else ()),
            *((("replay", STORE_SECONDS, self._replay),) if reachable else ()),
            *((("renew", STORE_SECONDS, self._renew),) if reachable else ()),
        ):
            try:
                async with asyncio.timeout(seconds):
                    await chore()
            except Exception as error:  # told, and met again at the next turn
                said = str(error).splitlines()
                why = said[0][:200] if said else type(error).__name__
                log.warning("standing.chore_failed", chore=name, why=why)
                problems.append(f"{WORDS[name]} ({why}).")
        self.hands.problems = problems

    async def _watch_clock(self) -> None:
        await asyncio.to_thread(self.hands.watch_clock)

    async def _recover(self) -> None:
        for settled in await self.hands.recover():
            log.info("standing.recovered", action=settled.id, state=settled.state)

    async def _land(self) -> None:
        folder = self.hands.folder
        for operation in await land(self._database, folder.path, folder.seal, self.hands.clock):
            log.info("standing.freeze_stored", operation=operation)

    async def _replay(self) -> None:
        await replay(self._database, self.hands.journal, self.hands.clock, self._fingerprints)

    async def _renew(self) -> None:
        if why := await asyncio.to_thread(self.hands.missing):
            raise Conflict(f"the journal: {why}")
        if not self.hands.owes:
            await self._renewal.renew()


WORDS: Mapping[str, str] = {
    "clock": "The time can't be kept for standing permits",
    "recover": "What was cut short without the database could not be settled",
    "freezes": "What was frozen without the database could not be written to it",
    "replay": "What was done without the database could not be written to it",
    "renew": "Standing permits could not be renewed",
}


def standing_watch(
    home: Home,
    database: Database,
    operations: Mapping[str, Operation[Any]],
    context: OperationContext,
    evidence: StoredEvidence,
    caller: Callable[[], Awaitable[Caller]],
) -> StandingWatch | None:
    """The watch over one home; None where its key is missing, which is said in the log."""

    async def tenant_id() -> str:
        return (await caller()).tenant_id

    try:
        key = (home.keys / "standing.key").read_bytes()
        seal, journal_seal = Seal(key, place_of(home.path)), Seal(key, ANYWHERE)
    except (OSError, ValueError) as error:
        log.error("standing.no_key", why=str(error))
        return None
    folder = StandingFolder(home.standing, seal)
    hands = StandingHands(
        folder,
        Journal(home.standing, journal_seal),
        operations,
        context,
        home.locks,
        fingerprint_of(evidence),
    )
    earned = GateInAdvance(evidence, tenant_id)
    renewal = Renewal(database, folder, operations, context, earned)

    async def fingerprints(name: str) -> frozenset[str]:
        known = operations.get(name)
        return frozenset() if known is None else await current_fingerprints(evidence, known)

    return StandingWatch(database, hands, renewal, fingerprints)

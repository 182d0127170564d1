"""The road of a repair while the database is away: standing permit, journal, and its replay.

`walk` is what the healer does each time it has started: settle what the journal left half done, try
to act (it doesn't remember that it has), and write the journal into the database that is back.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evals.benchmarks.exactly_once_parts.fate import AFTER, BEFORE, INSIDE, Fate, MortalDatabase
from evals.benchmarks.exactly_once_parts.ours import STAFF, Errand, MortalOperation
from evals.worlds.book import no_infrastructure
from evals.worlds.outpost import Outpost, RestartInBook
from tools.autonomy import service
from tools.autonomy.journal import Journal, Kind, Line
from tools.autonomy.journal_replay import replay
from tools.autonomy.standing_folder import StandingFolder
from tools.autonomy.standing_hands import StandingHands
from tools.kit.clock import SystemClock
from tools.kit.operation import OperationContext


class MortalJournal(Journal):
    """The product's journal with boundaries around each line, within it, and before its head."""

    fate: Fate
    step = ""

    def append(self, kind: Kind, body: Mapping[str, Any], at: datetime) -> Line:
        """As the product's, between two boundaries."""
        self.step = f"journal {body.get('state', 'intent')}"
        self.fate.reach(f"{BEFORE} {self.step}")
        line = super().append(kind, body, at)
        self.fate.reach(f"{AFTER} {self.step}")
        return line

    def _write(self, text: str) -> None:
        torn = f"{INSIDE} {self.step}"
        if self.fate.strike == torn:
            # Half of the line is on the disk when the process dies.
            with self.path.open("ab") as file:
                file.write(text.encode()[: len(text) // 2])
                file.flush()
                os.fsync(file.fileno())
        self.fate.reach(torn)
        super()._write(text)
        self.fate.reach(f"{BEFORE} head of {self.step}")


class MortalFolder(StandingFolder):
    """The product's folder with a boundary around the removal of a used permit."""

    fate: Fate

    def remove(self, permit_id: str) -> None:
        """As the product's, between two boundaries."""
        self.fate.reach(f"{BEFORE} permit file")
        super().remove(permit_id)
        self.fate.reach(f"{AFTER} permit file")


async def walk(errand: Errand, fate: Fate) -> dict[str, Any]:
    """Go the whole road, or what is left of it; where the action stands in the database at the end.

    Answers what `ours.walk` answers.
    """
    home = Outpost(Path(errand.folder))
    journal, folder = MortalJournal(home.path, home.seal), MortalFolder(home.path, home.seal)
    journal.fate = folder.fate = fate
    operation = RestartInBook(home.home)
    clock = SystemClock()
    home.hands = StandingHands(
        folder,
        journal,
        {operation.name: MortalOperation(operation, fate)},
        OperationContext(infrastructure=no_infrastructure(), clock=clock),
        home.home / "locks",
    )
    home.hands.driver = replace(home.hands.driver, poll=timedelta(milliseconds=25))
    await home.hands.recover()
    said = await home.act(errand.run)
    database = MortalDatabase(errand.database, fate)
    try:
        async with fate.around("replay"):
            await replay(database, journal, clock)
        async with database.unit_of_work() as session:
            shown = await service.list_actions(session, STAFF, target=errand.target)
    finally:
        await database.dispose()
    last = shown[0] if shown else None
    return {
        "id": last.id if last else "",
        "state": last.state if last else f"missing: {said}",
        "note": last.note if last else "",
        "actions": len(shown),
        "listed": last is not None,
    }

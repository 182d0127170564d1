"""Keeps what the healer knows: in its files every round, in the database whenever it is there.

What can't be written now is told as a problem, kept in memory and written later; nothing of an
incident is lost as long as one of the two can be written.
"""

import asyncio
from collections import deque
from datetime import datetime, timedelta

import structlog

from tools.healing.casebook import CaseBook
from tools.healing.findings import Picture
from tools.healing.incidents import Case
from tools.healing.local_store import LocalStore
from tools.healing.store import STORE_CALL, ControlStore
from tools.healing.watch import Watch, fleet_view
from tools.kit.clock import Clock
from tools.kit.infrastructure import Fleet

SIGNALS_EVERY = timedelta(seconds=10)
"""How often the series are written to a file; the database gets every sample."""
HELD = timedelta(seconds=90)
"""An action that has not moved for so long was left by a process that died."""
ALERTS_KEPT = 500
"""Alert lines kept while their file can't be written."""
SAMPLES_AT_ONCE = 2000

log = structlog.get_logger(__name__)


class Keeper:
    """Writes the casebook, the fleet's picture and the alerts."""

    def __init__(
        self, book: CaseBook, watch: Watch, local: LocalStore, store: ControlStore, clock: Clock
    ) -> None:
        self._book = book
        self._watch = watch
        self._local = local
        self._store = store
        self._clock = clock
        self._alerts: deque[str] = deque(maxlen=ALERTS_KEPT)
        self._written: dict[str, int] = {}
        self._signals_at: datetime | None = None
        self._local_problem = ""
        self._store_problem = ""
        self._held: frozenset[str] = frozenset()
        self._met = False

    @property
    def met_store(self) -> bool:
        """Whether the stored incidents have been taken in."""
        return self._met

    @property
    def held(self) -> frozenset[str]:
        """Targets on which an action was at work when the database was last asked."""
        return self._held

    @property
    def problems(self) -> list[str]:
        """What could not be written."""
        found = [p for p in (self._local_problem, self._store_problem) if p]
        if self._watch.dropped:
            found.append(
                f"{self._watch.dropped} signal samples were dropped while the database was down."
            )
        return found

    def alert(self, word: str, case: Case, text: str) -> None:
        """One line for the alerts' log, written with the files."""
        at = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._alerts.append(" ".join(f"{at} {word} {case.id} {case.view.title}: {text}".split()))

    async def write_files(self, picture: Picture, fleet: Fleet, problems: list[str]) -> None:
        """Replace the files; a disk that refuses is a problem told, not an error."""
        versions = {c.id: c.version for c in self._book}
        views = self._book.views
        view = fleet_view(self._watch, fleet, picture, views, problems, with_series=False)
        charts = None
        if self._signals_at is None or picture.at - self._signals_at >= SIGNALS_EVERY:
            charts = fleet_view(self._watch, fleet, picture, views, [], with_series=True)
        state = {"replicas": self._watch.to_json(), "at": picture.at.isoformat()}
        changed = versions != self._written
        alerts = list(self._alerts)

        def write() -> None:
            if changed:
                self._local.write_incidents(views)
            self._local.write_fleet(view)
            self._local.write_state(state)
            if charts is not None:
                self._local.write_signals(charts)
            for line in alerts:
                self._local.alert(line)
                self._alerts.popleft()

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            if not self._local_problem:
                log.error("healer.files_not_written", error=str(error))
            self._local_problem = f"The healer's files can't be written: {error.strerror or error}."
            return
        self._local_problem = ""
        self._written = versions
        if charts is not None:
            self._signals_at = picture.at

    async def meet_store(self) -> None:
        """Take in what the database has as open.

        Raises:
            Exception: whatever the database's driver raises when it can't be reached.
        """
        async with asyncio.timeout(STORE_CALL):
            self._book.merge(await self._store.open_incidents())
        self._met = True

    async def sync(self, picture: Picture, fleet: Fleet, problems: list[str]) -> None:
        """Write to the database what it lacks; what fails is written next time."""
        try:
            if not self._met:
                await self.meet_store()
            async with asyncio.timeout(STORE_CALL):
                self._held = frozenset(await self._store.held(self._clock.now() - HELD))
                dirty = [c for c in self._book if c.dirty]
                if dirty:
                    versions = [c.version for c in dirty]
                    await self._store.save([c.view for c in dirty])
                    for case, version in zip(dirty, versions, strict=True):
                        case.saved = version
                view = fleet_view(
                    self._watch, fleet, picture, self._book.views, problems, with_series=False
                )
                samples = list(self._watch.unsaved)[:SAMPLES_AT_ONCE]
                await self._store.save_look(view, samples)
                self._watch.saved(len(samples))
            self._store_problem = ""
        except Exception as error:  # kept in memory and files, written when it is back
            text = str(error).splitlines()
            reason = text[0][:200] if text else type(error).__name__
            if not self._store_problem:
                log.warning("healer.store_not_written", error=reason)
            self._store_problem = f"The database could not be written: {reason}."

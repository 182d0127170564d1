"""The kit's `Ledger` over the journal: the same driver drives an action while the database is away.

An action lives in memory until it begins. Its first line carries all of it together with the permit
it uses up, and is on disk before the effect; each later step is one more line.

Nothing is leased here: the journal is of one home on one machine, and the file lock on the target,
which every driver of that home holds, ends with its process.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from memory import audit
from tools.autonomy.journal import Journal, Reading
from tools.autonomy.journal_story import Story, as_recorded, stories
from tools.autonomy.ledger import RecordedAction
from tools.autonomy.standing_folder import StandingFolder
from tools.autonomy.standing_schemas import StandingPermit
from tools.autonomy.states import require_arrow
from tools.kit.clock import Clock
from tools.kit.errors import CapabilityError, Conflict, NotFound
from tools.kit.ledger import Purpose
from tools.kit.operation import Check, Plan, Warrant

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Prepared:
    """An action that was planned and has not begun."""

    action: dict[str, Any]
    state: str = "permitted"
    note: str = ""

    @property
    def plan(self) -> Plan:
        """What it would change."""
        return Plan.model_validate(self.action["plan"])

    @property
    def warrant(self) -> Warrant:
        """The cause it names."""
        return Warrant.model_validate(self.action["warrant"])

    def recorded(self) -> RecordedAction:
        """The action as a driver reads it."""
        return as_recorded(self.action, self.state, note=self.note)


Allow = Callable[[Prepared, Reading], StandingPermit]
"""The permit that lets a prepared action begin now; raises `Conflict` where none does."""


class JournalLedger:
    """Each call is one line, on disk before it returns; the folder is held while it is written."""

    def __init__(
        self, journal: Journal, folder: StandingFolder, clock: Clock, allow: Allow
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._clock = clock
        self._allow = allow
        self._prepared: dict[str, Prepared] = {}

    def prepare(self, action: dict[str, Any]) -> None:
        """Know an action that may begin; of those that never do, the newest on a target stays."""
        for old in [i for i, p in self._prepared.items() if p.action["target"] == action["target"]]:
            del self._prepared[old]
        self._prepared[action["id"]] = Prepared(action)

    async def told(self) -> dict[str, Story]:
        """Every action of the journal, oldest first."""
        return stories((await asyncio.to_thread(self._read)).lines)

    async def read(self, action_id: str) -> RecordedAction:
        """The action as it stands.

        Raises:
            NotFound: there is no such action.
        """
        if (story := (await self.told()).get(action_id)) is not None:
            return story.recorded()
        if (prepared := self._prepared.get(action_id)) is not None:
            return prepared.recorded()
        raise NotFound(f"There is no action {action_id}.")

    async def begin(self, action_id: str, purpose: Purpose, holder: str) -> RecordedAction:
        """Use up the permit and tell the intent, in one line.

        Raises:
            NotFound: no such action was prepared.
            Conflict: no permit lets it begin now.
            OSError: the line can't be written; nothing may happen.
        """
        if purpose == "undo":
            raise Conflict("Without the database nothing is undone on request.")
        return await asyncio.to_thread(self._begin, action_id)

    async def take_over(self, action_id: str, holder: str) -> RecordedAction:
        """The action as it stands: who holds the file lock on its target has it.

        Raises:
            NotFound: there is no such action.
        """
        return await self.read(action_id)

    async def renew(self, action_id: str, holder: str) -> None:
        """Nothing runs out here."""

    async def record(
        self,
        action_id: str,
        state: str,
        *,
        holder: str,
        effect: dict[str, Any] | None = None,
        check: Check | None = None,
        undo: Check | None = None,
        note: str = "",
    ) -> RecordedAction:
        """Tell the next step of an action.

        Raises:
            NotFound: there is no such action.
            Conflict: no arrow leads there from where it stands.
            OSError: the line can't be written.
        """
        body: dict[str, Any] = {"action_id": action_id, "state": state}
        if effect is not None:
            body["effect"] = audit.storable(effect)
        if check is not None:
            body["check"] = audit.storable(check.model_dump(mode="json"))
        if undo is not None:
            body["undo"] = audit.storable(undo.model_dump(mode="json"))
        if note:
            body["note"] = audit.storable(note)
        return await asyncio.to_thread(self._record, action_id, state, body)

    async def interrupted(self, executor: str) -> Sequence[RecordedAction]:
        """Actions begun and not ended; the journal is of one executor, the healer."""
        return [s.recorded() for s in (await self.told()).values() if s.half_done]

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Nothing waits here: an action is begun by whoever prepared it."""
        return []

    def _read(self) -> Reading:
        with self._folder.alone():
            return self._journal.read()

    def _begin(self, action_id: str) -> RecordedAction:
        with self._folder.alone():
            reading = self._journal.read()
            if action_id in stories(reading.lines):
                raise Conflict(f"{action_id} was begun before.")
            prepared = self._prepared.get(action_id)
            if prepared is None:
                raise NotFound(f"There is no action {action_id}.")
            require_arrow(action_id, prepared.state, "intended")
            try:
                permit = self._allow(prepared, reading)
            except CapabilityError as why:
                self._prepared[action_id] = replace(prepared, state="withdrawn", note=why.message)
                raise
            body = {"action": prepared.action, "permit": permit.model_dump(mode="json")}
            line = self._journal.append("intended", body, self._clock.now())
            # Two marks of one use before the effect: a journal that is lost doesn't make the permit
            # good again. Who dies between them has done nothing; recovery makes the second.
            self._note(frozenset({permit.id}), line.seq)
            del self._prepared[action_id]
            # Used up already, by the line above: a file that stays is refused by its id.
            try:
                self._folder.remove(permit.id)
            except OSError as error:
                log.warning("standing.permit_stays", permit=permit.id, why=str(error))
            return as_recorded(prepared.action, "intended")

    def _note(self, used: frozenset[str], line: int) -> None:
        try:
            self._folder.note_used(used, line)
        except OSError as error:  # the line counts; that it was there is told a little less well
            log.warning("standing.line_not_noted", line=line, why=str(error))

    def _record(self, action_id: str, state: str, body: dict[str, Any]) -> RecordedAction:
        with self._folder.alone():
            story = stories(self._journal.read().lines).get(action_id)
            if story is None:
                prepared = self._prepared.get(action_id)
                if prepared is None:
                    raise NotFound(f"There is no action {action_id}.")
                require_arrow(action_id, prepared.state, state)
                ended = replace(prepared, state=state, note=str(body.get("note", "")))
                self._prepared[action_id] = ended
                return ended.recorded()
            require_arrow(action_id, story.state, state)
            story.tell(self._journal.append("recorded", body, self._clock.now()))
            return story.recorded()

"""Carries out the healer's permitted work: one task per action, each begun once.

What a dead healer left half done is settled once at the start; what the database cut short comes
back as ready work. Nothing is applied twice, because the kit observes the world first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from tools.kit.errors import CapabilityError, Conflict
from tools.kit.gatekeeper import Gatekeeper, Settled
from tools.kit.ledger import Purpose

EXECUTOR: Literal["healer"] = "healer"
RETRY_SECONDS = 5.0
"""Pause after an action that could not be begun."""
LATELY_SECONDS = 10.0
"""How long after an action a new process is taken for its doing: a few rounds."""
RESULTS_KEPT = 200

Drive = Callable[[str], Awaitable[Settled]]
"""Brings the action with this id to its end."""

log = structlog.get_logger(__name__)


class ReadyWork:
    """The healer's actions under way and how the last ones ended."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._under_way: dict[tuple[str, Purpose], asyncio.Task[Settled | None]] = {}
        self._retry_at: dict[tuple[str, Purpose], float] = {}
        self._results: OrderedDict[str, Settled] = OrderedDict()
        self._ended: dict[str, float] = {}
        self._undone: list[Settled] = []
        self._recover = True
        self._ending = False
        self._ticking = asyncio.Lock()

    @property
    def tasks(self) -> set[asyncio.Task[Settled | None]]:
        """Actions under way."""
        return set(self._under_way.values())

    def under_way(self, action_id: str | None) -> bool:
        """Whether this action is being driven now."""
        return any(action == action_id for action, _ in self._under_way)

    def acted_lately(self, target: str) -> bool:
        """Whether an action on *target* ended here within the last seconds."""
        ended = self._ended.get(target)
        now = asyncio.get_running_loop().time()
        return ended is not None and now - ended <= LATELY_SECONDS

    def result(self, action_id: str) -> Settled | None:
        """How an action ended, if it ended here and lately."""
        return self._results.get(action_id)

    def take_undone(self) -> list[Settled]:
        """Undo permits carried out since the last call."""
        taken, self._undone = self._undone, []
        return taken

    async def tick(self) -> None:
        """Settle what was cut short, then begin what is permitted and not under way.

        Raises:
            Exception: whatever the gatekeeper raises when its store can't be reached.
        """
        async with self._ticking:
            if self._ending:
                return
            if self._recover:
                for settled in await self._gatekeeper.recover(EXECUTOR):
                    self._keep(settled)
                    log.info("action.recovered", action=settled.id, state=settled.state)
                self._recover = False
            now = asyncio.get_running_loop().time()
            for action_id, purpose in await self._gatekeeper.ready(EXECUTOR):
                if self._retry_at.get((action_id, purpose), 0.0) <= now:
                    self.begin(action_id, purpose)

    def begin(
        self, action_id: str, purpose: Purpose, drive: Drive | None = None
    ) -> asyncio.Task[Settled | None]:
        """Drive an action in a task of its own; one already under way is answered as it is.

        *drive* takes the gatekeeper's place where the store is away.
        """
        key = (action_id, purpose)
        if key not in self._under_way:
            task = asyncio.create_task(self._drive(action_id, purpose, drive))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return self._under_way[key]

    async def finish(self) -> None:
        """Begin nothing more and wait for what is under way: it stops between steps, not in one."""
        self._ending = True
        if self._under_way:
            await asyncio.wait(self.tasks)

    async def _drive(self, action_id: str, purpose: Purpose, drive: Drive | None) -> Settled | None:
        try:
            if drive is not None:
                settled = await drive(action_id)
            else:
                settled = await self._gatekeeper.drive(action_id, purpose)
        except Conflict as conflict:
            log.info("action.not_begun", action=action_id, reason=conflict.message)
        except CapabilityError as error:
            log.warning("action.not_begun", action=action_id, reason=error.message)
        except Exception as error:  # the store went away in the middle, most likely
            log.warning("action.cut_short", action=action_id, reason=str(error)[:200])
        else:
            self._keep(settled)
            if purpose == "undo":
                self._undone.append(settled)
            log.info("action.ended", action=action_id, state=settled.state, text=settled.text)
            return settled
        pause = asyncio.get_running_loop().time() + RETRY_SECONDS
        self._retry_at = {k: t for k, t in self._retry_at.items() if t > pause - RETRY_SECONDS}
        self._retry_at[action_id, purpose] = pause
        return None

    def _keep(self, settled: Settled) -> None:
        self._results[settled.id] = settled
        self._ended[settled.target] = asyncio.get_running_loop().time()
        self._results.move_to_end(settled.id)
        while len(self._results) > RESULTS_KEPT:
            self._results.popitem(last=False)

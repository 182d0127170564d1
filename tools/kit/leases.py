"""Who drives an action: a name that others can tell to be gone, and the hold it has on the action.

A hold is a lease in the ledger. It is taken together with the intent, or from a driver that is gone
or silent, and renewed while the drive lasts. Whoever lost it writes nothing more about the action.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any

import structlog

from tools.kit.ledger import DrivenAction, Ledger, Purpose, Superseded
from tools.kit.process_stat import PROC, read_stat

LEASE = timedelta(seconds=30)
"""How long a driver that says nothing keeps an action, by the ledger's clock."""
RENEW_EVERY = timedelta(seconds=10)
"""So that two renewals in a row may fail."""

_driving: set[str] = set()
"""Drives of this process that haven't ended."""

log = structlog.get_logger(__name__)


@contextmanager
def driving() -> Iterator[str]:
    """Name one drive of this process; when the block ends, that name is gone."""
    pid = os.getpid()
    holder = f"{_machine()}:{pid}:{_own_start()}:{secrets.token_hex(8)}"
    _driving.add(holder)
    try:
        yield holder
    finally:
        _driving.discard(holder)


def is_gone(holder: str) -> bool:
    """Whether that drive has ended for certain.

    Told of drives on this machine alone, by process and start time. Of another machine, another
    boot or another container only the lease tells.
    """
    machine, pid, started = [*holder.split(":"), "", ""][:3]
    if machine != _machine() or not (pid.isdigit() and started.isdigit()):
        return False
    if int(pid) == os.getpid() and int(started) == _own_start():
        return holder not in _driving
    return not _lives(int(pid), int(started))


class Hold:
    """One drive's hold on one action; used as a context, which ends the renewing."""

    def __init__(
        self, ledger: Ledger, action_id: str, holder: str, timer: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._action_id = action_id
        self._holder = holder
        self._timer = timer
        self._held_since = timer()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Hold":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def begin(self, purpose: Purpose) -> DrivenAction:
        """Consume the permit, record the intent and take the lease, together.

        Raises:
            Conflict: as `Ledger.begin`.
        """
        asked = self._timer()
        action = await self._ledger.begin(self._action_id, purpose, self._holder)
        self._keep(asked)
        return action

    async def take_over(self) -> DrivenAction:
        """Take an action that its driver left half done.

        Raises:
            Conflict: as `Ledger.take_over`.
        """
        asked = self._timer()
        action = await self._ledger.take_over(self._action_id, self._holder)
        self._keep(asked)
        return action

    async def require(self) -> None:
        """Make sure of the lease before an effect; asked of the ledger where it may have run out.

        Raises:
            Superseded: somebody else has taken the action over.
        """
        if self._timer() - self._held_since >= LEASE.total_seconds():
            await self._renew()

    async def record(self, state: str, **said: Any) -> DrivenAction:
        """Record a step under this hold; *said* as `Ledger.record` takes it.

        Raises:
            Superseded: somebody else has taken the action over; nothing was changed.
            Conflict: no arrow leads there.
        """
        return await self._ledger.record(self._action_id, state, holder=self._holder, **said)

    def _keep(self, since: float) -> None:
        self._held_since = since
        self._renewing = asyncio.create_task(self._keep_renewing(), name=f"hold {self._action_id}")

    async def _renew(self) -> None:
        asked = self._timer()
        await self._ledger.renew(self._action_id, self._holder)
        self._held_since = asked

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            try:
                await self._renew()
            except Superseded as lost:
                log.error("action.lease_lost", action=self._action_id, why=lost.message)
                return
            except Exception as error:  # the store is away: it is tried again
                why = str(error)[:200]
                log.warning("action.lease_not_renewed", action=self._action_id, why=why)


def _machine() -> str:
    """One boot of one machine, as far as its process ids mean the same to us."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text()
    return hashlib.sha256(f"{boot}{(PROC / 'self/ns/pid').readlink()}".encode()).hexdigest()[:16]


def _own_start() -> int:
    own = read_stat(os.getpid())
    assert own is not None
    return own.started


def _lives(pid: int, started: int) -> bool:
    """Whether this run of a process goes on; one that may not be looked at counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = read_stat(pid)
    return found is None or (found.started == started and not found.ended)

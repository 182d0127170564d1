"""Where runs are kept: in the academy when its database answers, else in files beside it."""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from evals.kept_runs import KeptRuns
from evals.records import RunStore
from evals.stored_runs import StoredRuns
from graphs.settings import Settings
from memory.database import Database
from memory.errors import StoreError
from tools.kit.clock import SystemClock

PING_SECONDS = 3.0
FOLDER = "evaluations"


@dataclass(frozen=True)
class Place:
    """Where runs are kept now, and why."""

    store: RunStore
    control: Database | None
    """The academy's control database, when it answers."""
    why: str
    """Why nothing is stored, in a sentence; empty when the academy answers."""


@contextlib.asynccontextmanager
async def open_place(settings: Settings) -> AsyncIterator[Place]:
    """The academy that *settings* name if it can be reached, else its folder."""
    try:
        control = Database(settings.control_url, pool_size=3)
    except StoreError as error:
        yield _aside(settings, str(error))
        return
    try:
        await control.ping(seconds=PING_SECONDS)
    except StoreError as error:
        await control.dispose()
        yield _aside(settings, str(error))
        return
    try:
        yield Place(StoredRuns(control, SystemClock()), control, "")
    finally:
        await control.dispose()


def kept_in(settings: Settings) -> Path:
    """Folder of runs played while no academy was reachable; made with its home when missing."""
    home = settings.paths.path
    home.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    return home / FOLDER


def _aside(settings: Settings, reason: str) -> Place:
    folder = settings.paths.path / FOLDER
    why = (
        f"No academy is reachable ({reason.rstrip('.')}): nothing is stored in one and nothing is"
        f" earned. The worlds played are kept in {folder} for reports."
    )
    return Place(KeptRuns(folder), None, why)

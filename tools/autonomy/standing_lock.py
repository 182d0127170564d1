"""The lock of the standing folder: one process at a time judges, writes or takes back."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

FILE = "lock"
POLL_SECONDS = 0.02


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder, waiting for whoever has it.

    Raises:
        OSError: the folder can't be written.
    """
    file = _open(folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[None]:
    """Hold the folder across awaits; the wait for it can be cancelled.

    Raises:
        OSError: the folder can't be written.
    """
    file = await asyncio.to_thread(_open, folder)
    try:
        # Polled: a thread that waited for the lock would get it after a cancellation, and keep it.
        while not _locked(file):  # noqa: ASYNC110 (another process lets go)
            await asyncio.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(file)


def _open(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

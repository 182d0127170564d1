"""A PostgreSQL of its own in a throw-away folder, for benchmarks that need a real store."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from memory import provision
from memory.database import read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreUnavailable

START_SECONDS = 30.0
"""Longest wait for the first answer; initdb and the start take about three seconds."""
STOP_SECONDS = 20.0


@asynccontextmanager
async def throwaway_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A running embedded server with an empty folder of its own; nothing of it stays.

    It keeps the settings of production, `fsync` among them.

    Raises:
        StoreError: it could not be prepared.
        StoreUnavailable: it did not answer in time; the message has the end of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="academy-pg-"))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the server's own user must pass through
    server = EmbeddedPostgres(folder / "postgres", folder / "run", folder / "password")
    process: subprocess.Popen[bytes] | None = None
    try:
        await asyncio.to_thread(server.prepare)
        with (folder / "postgres.log").open("ab") as log:
            process = subprocess.Popen(server.command, stdout=log, stderr=log)
        await _answers(server, folder / "postgres.log")
        yield server
    finally:
        if process is not None:
            await asyncio.to_thread(_stop, process)
        data = server.data.resolve()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


async def _answers(server: EmbeddedPostgres, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            async with provision.connection_beside(read_url(server.url("postgres"))):
                return
        except StoreUnavailable as error:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{error} {log.read_text()[-500:]}") from error
            await asyncio.sleep(0.05)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-800:]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """A fast shutdown, and an end to it where that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=5)

"""Starting and stopping an embedded PostgreSQL as supervisord would."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path

from memory import provision
from memory.database import read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreUnavailable

START_SECONDS = 30
TENANT_ID = "ten-test"
"""The tenant whose row the fixture `tenant_db` adds."""


def start_postgres(server: EmbeddedPostgres) -> subprocess.Popen[bytes]:
    """Start the embedded server as supervisord does, its log beside its data."""
    log = server.data.parent / "postgres.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            server.command,
            cwd=Path(__file__).parent.parent,
            stdout=file,
            stderr=file,
        )


async def wait_until_up(server: EmbeddedPostgres, *, seconds: float = START_SECONDS) -> None:
    """Poll until the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            async with provision.connection_beside(read_url(server.url("postgres"))):
                return
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def stop_postgres(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, as `academy down` does."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)

"""Serves a model of an attack over real sockets, in a process of its own."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

START_SECONDS = 30.0
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def served(app: str) -> AsyncIterator[str]:
    """The base URL of the application *app* (`package.module:name`), on a free port of 127.0.0.1.

    Raises:
        RuntimeError: it did not begin to answer within `START_SECONDS`.
    """
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1",
        "--port", str(port), "--no-ws", "--log-level", "critical", app,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _answers(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), timeout=5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(port: int) -> None:
    try:
        async with asyncio.timeout(START_SECONDS), httpx2.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{port}/")
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return
    except TimeoutError as error:
        raise RuntimeError("the attack's own model did not start") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

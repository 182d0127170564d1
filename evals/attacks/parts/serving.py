"""Serves a model of an attack over real sockets, in a process of its own.

python -m evals.attacks.parts.serving package.module:name --port 8401
"""

import argparse
import asyncio
import importlib
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from evals.worlds import children

START_SECONDS = 120.0


@asynccontextmanager
async def served(app: str) -> AsyncIterator[str]:
    """The base URL of the application *app* (`package.module:name`), on a free port of 127.0.0.1.

    Raises:
        RuntimeError: it ended, or did not begin to answer within `START_SECONDS`.
    """
    port = _free_port()
    words = ["-m", "evals.attacks.parts.serving", app, "--port", str(port)]
    with tempfile.TemporaryFile() as output:
        process = children.start(words, env=children.environment(), output=output)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(port):
                    if process.poll() is not None:
                        output.seek(0)
                        said = output.read().decode(errors="replace")[-1000:]
                        raise RuntimeError(f"the attack's own model did not start: {said}")
                    await asyncio.sleep(0.05)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            await asyncio.to_thread(children.stop, process)


async def _answers(port: int) -> bool:
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            await client.get(f"http://127.0.0.1:{port}/")
        except httpx2.TransportError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def serve(app: str, port: int) -> None:
    """Serve *app* on *port* of 127.0.0.1 until SIGTERM."""
    module, _, name = app.partition(":")
    server = Server(
        getattr(importlib.import_module(module), name),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_level=LogLevels.critical,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


def main() -> None:
    """Serve one application from the command line."""
    parser = argparse.ArgumentParser(description="A model of an attack.")
    parser.add_argument("app", help="package.module:name")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.app, options.port))


if __name__ == "__main__":
    main()

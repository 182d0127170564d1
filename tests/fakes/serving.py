"""An ASGI application on a real port: an in-process client would buffer its streams."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from server.lifespan import Services

READY_SECONDS = 10


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Base URL of *app* on a free loopback port; at the end it drains and stops."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_level=LogLevels.error,
    )
    task = asyncio.create_task(server.serve())
    base = f"http://localhost:{port}"
    async with asyncio.timeout(READY_SECONDS), httpx2.AsyncClient(base_url=base) as probe:
        while True:
            try:
                await probe.get("/healthz")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.02)
    yield base
    services: Services = app.state.services
    services.draining.set()
    server.stop()
    await task

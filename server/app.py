"""One web replica: pages and API in one process, which supervisord keeps alive.

`python -m server.app --replica web-1 --port 8401` serves until SIGTERM, then drains: `/readyz`
turns 503 so that the proxy sends no more, open streams end asking to be resumed elsewhere, and the
process leaves within seconds.
"""

import argparse
import asyncio
import os
import signal

from fastapi import FastAPI
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from graphs.logs import configure_logging
from graphs.settings import Settings, read_settings
from memory.database import Databases
from server import error_handlers, openapi
from server.lifespan import (
    POOL_SIZE,
    FleetDescription,
    Glance,
    RecentSessions,
    Services,
    lifespan,
)
from server.metrics import Metrics
from server.middleware import BodyLimit, RequestContext
from server.plain_address import PlainAddress
from server.routes import autonomy as autonomy_api
from server.routes import evaluation as evaluation_api
from server.routes import healing as healing_api
from server.routes import identity as identity_api
from server.routes import openai as openai_api
from server.routes import probes
from server.routes import standing as standing_api
from server.routes import threads as threads_api
from server.web.pages import account, approvals, audit, docs, files, fleet, incidents, ops, signin
from server.web.pages import autonomy as autonomy_page
from server.web.pages import standing as standing_page
from tools.kit.clock import Clock, SystemClock

DRAIN_SECONDS = 1.5
"""How long a draining replica still answers: three of the proxy's half-second probes."""
GIVE_UP_SECONDS = 10.0
"""When a replica that can't end in order ends anyway."""

ROUTERS = (
    probes.router,
    files.router,
    signin.router,
    ops.router,
    approvals.router,
    fleet.router,
    incidents.router,
    audit.router,
    standing_page.router,
    autonomy_page.router,
    account.router,
    docs.router,
    identity_api.router,
    healing_api.router,
    autonomy_api.router,
    evaluation_api.router,
    standing_api.router,
    threads_api.router,
    openai_api.router,
)


def create_app(
    settings: Settings,
    *,
    replica: str = "web",
    databases: Databases | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """The whole web application; tests hand in their own databases and clock."""
    timepiece = clock or SystemClock()
    app = FastAPI(
        title="Dynasty Academy Autonomy",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    metrics = Metrics()
    app.state.services = Services(
        settings=settings,
        replica=replica,
        clock=timepiece,
        databases=databases or Databases(settings.control_url, pool_size=POOL_SIZE),
        metrics=metrics,
        fleet=FleetDescription(settings),
        recent=RecentSessions(timepiece),
        glance=Glance(timepiece),
    )
    error_handlers.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(PlainAddress)
    app.add_middleware(
        RequestContext,
        metrics=metrics,
        replica=replica,
        on_unexpected=error_handlers.on_unexpected,
    )
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app, ROUTERS)
    return app


async def serve(app: FastAPI, *, address: str, port: int) -> None:
    """Serve *app* until SIGTERM or SIGINT, then drain and leave."""
    services: Services = app.state.services
    server = Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_level=LogLevels.warning,
    )
    loop = asyncio.get_running_loop()

    def drain() -> None:
        if services.draining.is_set():
            return
        services.draining.set()
        services.metrics.draining.set(1)
        loop.call_later(DRAIN_SECONDS, server.stop)
        loop.call_later(GIVE_UP_SECONDS, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    await server.serve()


def main() -> None:
    """Run one replica from the command line."""
    parser = argparse.ArgumentParser(description="One web replica of the academy.")
    parser.add_argument("--replica", default="web-1", help="its name at the process supervisor")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    options = parser.parse_args()
    configure_logging()
    app = create_app(read_settings(), replica=options.replica)
    asyncio.run(serve(app, address=options.address, port=options.port))


if __name__ == "__main__":
    main()

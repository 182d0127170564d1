"""What every campus service does the same way: arguments, HTTP, figures, health, an orderly end."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from evals.worlds.campus.exports import Exports
from evals.worlds.campus.rates import Rates

BODY_BYTES = 64 * 1024
DRAIN_SECONDS = 1.5
"""How long requests in flight may take to finish after SIGTERM."""

LOOK_SECONDS = 2.0

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For HTTP clients: campus speaks plain HTTP on loopback; a list of authorities takes 8 MB."""

log = logging.getLogger("campus")


@dataclass(frozen=True)
class Options:
    """What the launcher tells a replica."""

    home: Path
    replica: str
    port: int | None
    data: Path | None
    data_limit: int | None
    database_file: Path | None

    @property
    def database_url(self) -> str:
        """The database server's address, read where only the academy's user can."""
        if self.database_file is None:
            raise SystemExit(f"{self.replica} needs --database-file.")
        try:
            return self.database_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SystemExit(f"{self.database_file} can't be read: {error}.") from error


@dataclass(frozen=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes

    def form(self) -> dict[str, str]:
        """Fields of a form body; what isn't one gives none."""
        return _first(self.body.decode("utf-8", errors="replace"))


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def text(status: int, sentence: str) -> Answer:
    """A plain sentence."""
    return Answer(status, (sentence + "\n").encode())


def page(content: str) -> Answer:
    """An HTML page."""
    return Answer(200, content.encode(), "text/html; charset=utf-8")


def as_json(value: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(value, default=str).encode(), "application/json")


class Service(ABC):
    """One replica: an ASGI application with `/healthz` and `/metrics`, and its background work."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.began = time.time()
        self.figures = CollectorRegistry()
        labels = ["method", "status"]
        self._requests = Counter(
            "campus_requests", "Requests answered.", labels, registry=self.figures
        )
        self._errors = Counter(
            "campus_errors", "Requests answered with 5xx.", registry=self.figures
        )
        self._seconds = Histogram(
            "campus_request_seconds",
            "Seconds from request to answer.",
            registry=self.figures,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        )
        self._flying = Gauge(
            "campus_requests_in_flight", "Requests being answered.", registry=self.figures
        )
        self.exports = Exports(options.data, options.replica, options.data_limit, self.figures)
        self.counted = 0
        self.failed = 0
        self._took = 0.0
        self._rates = Rates()
        self.lately: dict[str, float] = {}
        self.seen: dict[str, Any] = {}
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @abstractmethod
    async def look(self) -> dict[str, Any]:
        """What `/healthz` shall tell beside the usual; may take seconds, is asked every two.

        `dependencies` names what this replica depends on, each with `ok` and a `note`. Numbers at
        the top are signals: the fleet's page draws them.
        """

    @abstractmethod
    async def answer(self, request: Request) -> Answer:
        """The answer to *request*."""

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Work that goes on beside requests until the end."""
        return [self.exports.keep(self), self._look_forever()]

    @abstractmethod
    async def close(self) -> None:
        """Let go of what the service holds open."""

    def health(self) -> Answer:
        """Alive: 200 as long as this process answers; a restart would not mend a dependency.

        Told from the last look, so that a dependency that hangs doesn't make this hang too.
        """
        seen = {"dependencies": {}, **self.seen}
        degraded = not all(entry["ok"] for entry in seen["dependencies"].values())
        return as_json(
            {
                "status": "degraded" if degraded else "ok",
                "replica": self.options.replica,
                "uptime_seconds": round(time.time() - self.began, 1),
                **self.lately,
                **seen,
                "exports": self.exports.state(),
            }
        )

    async def _look_forever(self) -> None:
        while True:
            seen = await self.look()
            self.lately = self._rates.look(time.monotonic(), self.counted, self.failed, self._took)
            self.seen = seen
            await asyncio.sleep(LOOK_SECONDS)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """The ASGI door."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        self.in_flight += 1
        self.idle.clear()
        self._flying.inc()
        try:
            answer = await self._answer(scope, receive)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
            self._flying.dec()
        if scope["path"] not in ("/healthz", "/metrics"):
            self._count(scope["method"], answer.status, time.perf_counter() - began)
        headers = [
            ("content-type", answer.content_type),
            ("content-length", str(len(answer.body))),
            *answer.headers,
        ]
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers],
            }
        )
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Answer:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return text(400, "The request ended early.")
            body += message.get("body", b"")
            if len(body) > BODY_BYTES:
                return text(413, f"A request body may take {BODY_BYTES} bytes.")
            if not message.get("more_body"):
                break
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        query = _first(scope.get("query_string", b"").decode("latin-1"))
        request = Request(method, scope["path"], query, body)
        if "\x00" in request.path:
            return text(400, "A path has no zero bytes.")
        try:
            if method == "GET" and request.path == "/healthz":
                return self.health()
            if method == "GET" and request.path == "/metrics":
                return Answer(200, generate_latest(self.figures), "text/plain; version=0.0.4")
            return await self.answer(request)
        except Exception:
            # The process must go on; the log has the traceback, the client a sentence.
            log.exception("%s %s failed", method, request.path)
            return text(500, "Something went wrong here; the service's log says what.")

    def _count(self, method: str, status: int, seconds: float) -> None:
        self.counted += 1
        self._took += seconds
        self._requests.labels(method, str(status)).inc()
        self._seconds.observe(seconds)
        if status >= 500:
            self.failed += 1
            self._errors.inc()


@dataclass
class _Ending:
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.event.set)


def options(argv: list[str] | None = None) -> Options:
    """The arguments of a campus program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--replica", required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--data-limit", type=int)
    parser.add_argument("--database-file", type=Path)
    return Options(**vars(parser.parse_args(argv)))


def set_up_logging() -> None:
    """Plain lines on standard error, which supervisord keeps."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx2", "httpcore2", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run(build: Callable[[Options], Service]) -> None:
    """Serve until SIGTERM or SIGINT, finish what is in flight, and end within two seconds."""
    set_up_logging()
    chosen = options()
    if chosen.port is None:
        raise SystemExit(f"{chosen.replica} needs --port.")
    asyncio.run(_serve(build(chosen), chosen.port))


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* until SIGTERM or SIGINT; an end of *work* by itself is an error."""
    ending = _Ending()
    ending.install()
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(ending.event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        raise SystemExit("The work ended by itself.")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _serve(service: Service, port: int) -> None:
    loop = asyncio.get_running_loop()
    ending = _Ending()
    ending.install()
    server = Server(
        service,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_level=LogLevels.warning,
    )
    serving = asyncio.create_task(server.serve())
    tasks = [asyncio.create_task(work) for work in service.background()]
    log.info("%s answers on port %d", service.options.replica, port)
    waiting = asyncio.create_task(ending.event.wait())
    done, _ = await asyncio.wait({serving, waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    # A connection that never closes must not keep the process beyond its time.
    loop.call_later(DRAIN_SECONDS + 0.4, os._exit, 1)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.idle.wait(), DRAIN_SECONDS)
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.gather(serving, *tasks, return_exceptions=True)
    await service.close()
    log.info("%s ends", service.options.replica)
    for task in done - {waiting}:
        task.result()


def _first(encoded: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(encoded).items()}

"""The academy's public port: a proxy that sends each request to the least busy ready replica.

    python -m server.front --port 8400 --upstream web-1=127.0.0.1:20001 --upstream web-2=...

Bodies and event streams pass as they come, both ways. A replica whose `/readyz` isn't 200 gets no
new requests and finishes those it has. A request is repeated on another replica only when it can't
have had an effect: the connection was refused, or its method is safe and no answer had begun.
"""

import argparse
import asyncio
import json
import os
import signal
import time

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from server.proxy.exchange import (
    HEAD_SECONDS,
    ClientLeft,
    Receive,
    Request,
    Scope,
    Send,
    TooLarge,
)
from server.proxy.replicas import Replica, Replicas
from server.proxy.wire import MOST_HEAD_BYTES, Broken, Connection

WAIT_SECONDS = 10.0
"""How long a request waits for a replica to become ready, such as during a start."""
MOST_WAITING = 500
MOST_REPEATS = 2
"""How often a read is sent again after a replica broke off: a request that kills what it meets must
not go round them all."""
LOST_READ = "The replicas that were asked for this broke off. Try again, or look at their logs."
LOST_WRITE = (
    "The connection to the replica that worked on this broke. Whether it took effect is not known:"
    " look before you repeat it."
)
MOST_CONNECTIONS = 4096
STOP_SECONDS = 5.0


class Front:
    """The ASGI application."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._waiting = 0
        self._counts = {"requests": 0, "repeated": 0, "failed": 0}
        self._streams: set[Connection] = set()
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/front/healthz":
            await self._tell_health(send)
            return
        self._counts["requests"] += 1
        request = Request(scope, receive, send)
        try:
            await self._forward(request)
        except ClientLeft:
            return
        except TooLarge as error:
            await request.refuse(error.status, str(error))

    def end_streams(self) -> None:
        """End what is under way, so that the front can stop; clients ask again."""
        self._stopping = True
        for connection in list(self._streams):
            connection.close()

    async def _forward(self, request: Request) -> None:
        await request.read_first()
        tried: list[Replica] = []
        lost = 0
        end = time.monotonic() + WAIT_SECONDS
        while True:
            replica = self._replicas.choose(tried) or await self._wait(end - time.monotonic())
            if replica is None:
                self._counts["failed"] += 1
                await request.refuse(503, "The academy is starting or overloaded. Try again soon.")
                return
            try:
                await self._exchange(request, replica)
                return
            except Broken as error:
                if not request.sent:
                    self._replicas.lost(replica, str(error))
                elif request.answering and self._stopping:
                    await request.end()
                    return
                elif request.answering:
                    self._counts["failed"] += 1
                    raise  # the server breaks the client's connection: the answer is incomplete
                lost += request.sent
                if not request.repeatable or lost > MOST_REPEATS:
                    self._counts["failed"] += 1
                    await request.refuse(502, LOST_READ if request.safe else LOST_WRITE)
                    return
            except TimeoutError:
                self._counts["failed"] += 1
                await request.refuse(504, f"No answer came within {HEAD_SECONDS:.0f} s.")
                return
            self._counts["repeated"] += 1
            tried.append(replica)
            if len(tried) >= len(self._replicas.all):
                tried.clear()

    async def _wait(self, seconds: float) -> Replica | None:
        if self._waiting >= MOST_WAITING:
            return None
        self._waiting += 1
        try:
            return await self._replicas.wait_ready(seconds)
        finally:
            self._waiting -= 1

    async def _exchange(self, request: Request, replica: Replica) -> None:
        """One attempt at *replica*."""
        replica.in_flight += 1
        try:
            connection = await replica.acquire()
            self._streams.add(connection)
            watch = request.watch(connection)
            try:
                head = await request.send_to(connection)
                await request.answer_with(head, connection)
            except BaseException:
                connection.close()
                raise
            finally:
                watch.cancel()
                self._streams.discard(connection)
                replica.give_back(connection)
        finally:
            replica.in_flight -= 1

    async def _tell_health(self, send: Send) -> None:
        replicas = [
            {"name": r.name, "ready": r.ready, "in_flight": r.in_flight, "note": r.note}
            for r in self._replicas.all
        ]
        ready = any(each["ready"] for each in replicas)
        body = json.dumps({"ready": ready, "replicas": replicas, **self._counts}).encode()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def serve(host: str, port: int, upstreams: list[Replica]) -> None:
    """Serve until SIGTERM or SIGINT."""
    replicas = Replicas(upstreams, probe_path="/readyz")
    front = Front(replicas)
    server = Server(
        front,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=MOST_HEAD_BYTES),
        websockets=False,
        backlog=1024,
        backpressure=MOST_CONNECTIONS,
        log_level=LogLevels.warning,
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        front.end_streams()
        server.stop()  # type: ignore[no-untyped-call]
        loop.call_later(STOP_SECONDS, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    replicas.begin()
    await server.serve()
    await replicas.close()


def upstream(text: str) -> Replica:
    """The replica of `NAME=HOST:PORT`."""
    name, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    return Replica(name=name, host=host, port=int(port))


def main() -> None:
    """Run the front from the command line."""
    parser = argparse.ArgumentParser(description="The academy's public port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=upstream, action="append", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port, options.upstream))


if __name__ == "__main__":
    main()

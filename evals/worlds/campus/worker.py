"""The certificate worker: takes asked-for certificates from the catalog's queue and issues them.

`/healthz` has the queue's depth and the age of its oldest entry. Issued certificates are kept for
an hour: campus is a sample, and its database must not grow for ever.
"""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any

from prometheus_client import Gauge

from evals.worlds.campus.serving import Answer, Options, Request, Service, as_json, run, text
from evals.worlds.campus.store import Store, StoreDown

IDLE_SECONDS = 0.5
TRIM_EVERY = 200
"""Rounds between two deletions of what was issued over an hour ago."""


class Worker(Service):
    """One replica of the worker; several share the queue."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.store = Store(options.database_url)
        self.issued = 0
        self.rounds = 0
        self._depth = Gauge(
            "campus_queue_depth", "Certificates waiting to be issued.", registry=self.figures
        )
        self._age = Gauge(
            "campus_queue_age_seconds", "Age of the oldest waiting one.", registry=self.figures
        )

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """The queue beside the exports."""
        return [*super().background(), self._work()]

    async def look(self) -> dict[str, Any]:
        """The database, the queue, and how many certificates this replica issued."""
        rest = {"certificates": {"issued": self.issued}}
        try:
            queue = await self._queue()
        except StoreDown as error:
            return {"dependencies": {"database": {"ok": False, "note": str(error)}}, **rest}
        signals = {f"queue_{name}": value for name, value in queue.items()}
        return {**signals, "dependencies": {"database": {"ok": True, "note": ""}}, **rest}

    async def answer(self, request: Request) -> Answer:
        """There is only the queue to look at."""
        if request.method == "GET" and request.path == "/queue":
            try:
                return as_json(await self._queue())
            except StoreDown as error:
                return text(503, f"The queue's database can't be reached: {error}")
        return text(404, "There is /queue here.")

    async def close(self) -> None:
        """Close the connection."""
        await self.store.close()

    async def _queue(self) -> dict[str, Any]:
        rows = await self.store.run(
            "select count(*) as depth, coalesce(round(extract(epoch from now() - min(asked_at)))"
            "::int, 0) as oldest_seconds from certificate where issued_at is null"
        )
        self._depth.set(rows[0]["depth"])
        self._age.set(rows[0]["oldest_seconds"])
        return rows[0]

    async def _work(self) -> None:
        while True:
            try:
                busy = await self._issue_one()
                self.rounds += 1
                if self.rounds % TRIM_EVERY == 1:
                    await self.store.run(
                        "delete from certificate where issued_at < now() - interval '1 hour'"
                    )
            except StoreDown:
                busy = False
            if not busy:
                await asyncio.sleep(IDLE_SECONDS)

    async def _issue_one(self) -> bool:
        """Issue the oldest waiting certificate in one statement; whether there was one."""
        rows = await self.store.run(
            "update certificate set issued_at = now(), "
            "code = encode(sha256(convert_to(concat_ws('/', id, learner, course), 'UTF8')), 'hex')"
            " where id = (select id from certificate where issued_at is null "
            "order by id limit 1 for update skip locked) returning id, learner, course, code"
        )
        if not rows:
            return False
        row = rows[0]
        expected = hashlib.sha256(f"{row['id']}/{row['learner']}/{row['course']}".encode())
        if row["code"] != expected.hexdigest():
            raise RuntimeError(f"Certificate {row['id']} got a wrong code.")
        self.issued += 1
        return True


if __name__ == "__main__":
    run(Worker)

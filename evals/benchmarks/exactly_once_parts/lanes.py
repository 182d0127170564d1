"""One lane of runs: a world, a database and a server of mortal processes, used one at a time."""

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from evals.benchmarks.exactly_once_parts import ours, plain_graph
from evals.benchmarks.exactly_once_parts.fleet import SERVICE, ClerkFleet
from evals.benchmarks.exactly_once_parts.judging import Left, cut_ending, ending, graph_ending
from evals.worlds.book import Book, MakeEntry
from evals.worlds.outpost import Outpost, RestartInBook
from memory.database import Database
from memory.errors import StoreError
from tools.autonomy import service
from tools.kit.clock import SystemClock

HELPS, USELESS, TAKEN_BACK = "helps", "does not help", "undone by a person"
RESTART, STORELESS = "restart", "store away"
CUT = "restart cut in half"
RESTARTS = (RESTART, CUT)
BOOKS = (HELPS, USELESS, TAKEN_BACK)
SCENARIOS = (*BOOKS, RESTART, STORELESS)
"""An entry that helps; one that doesn't and is undone by the driver; one a person has undone; the
product's own restart of a replica; and an entry under a standing permit while the store is away.
`CUT` is a restart whose process dies between stop and start: only a completed one is good."""

STYLES = ("beside", "apart")


@dataclass(frozen=True)
class Round:
    """One run to be played: what it is about and where its processes die."""

    number: int
    scenario: str
    strike: str | None
    """The boundary at which the first process dies."""
    after_s: float | None = None
    """Or the moment at which it is killed from outside."""
    again: str | None = None
    """The boundary at which the process that recovers dies too, if it comes there."""


@dataclass(frozen=True)
class Played:
    """What became of a round."""

    round: Round
    killed: bool
    """Whether the first process died as planned."""
    killed_again: bool
    ending: str
    left: Left

    @property
    def boundary(self) -> str:
        """Where it died, for a table."""
        return self.round.strike or "any moment"


class Actor:
    """A server of mortal processes (`actor.py`)."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "evals.benchmarks.exactly_once_parts.actor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def __enter__(self) -> "Actor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()  # it may be in the middle of an order that nobody waits for
        self._process.wait(20)

    def live(
        self,
        road: str,
        errand: ours.Errand | plain_graph.Errand,
        *,
        strike: str | None = None,
        after_s: float | None = None,
    ) -> dict[str, Any]:
        """Let one process go a road until it ends or dies; how it did."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"road": road, "errand": asdict(errand), "strike": strike, "after_s": after_s}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise StoreError(f"The server of processes ended: {self._log.read_text()[-800:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Lane:
    """A world in *folder* with its two databases, its clerks and its processes."""

    folder: Path
    control_url: str
    graphs_url: str
    actor: Actor
    fleet: ClerkFleet
    rehearsals: Iterator[int] = field(default_factory=itertools.count)
    """Numbers of the rehearsals so far: each is a run of its own."""

    def errand(self, name: str, round_: Round) -> ours.Errand:
        """What round *round_* asks of the product; opens its book, or sees that its clerk runs."""
        if round_.scenario in RESTARTS:
            replica = self.fleet.names[round_.number % len(self.fleet.names)]
            self.fleet.make_ready(replica)
            return ours.Errand(
                run=name,
                database=self.control_url,
                folder=str(self.folder),
                operation="healing.restart_replica",
                target=f"{SERVICE}/{replica}",
                arguments={"service": SERVICE, "replica": replica},
            )
        if round_.scenario == STORELESS:
            home = Outpost(self.folder / name)
            Book(home.home, name).open(helps=True)
            home.issue(name)
            return ours.Errand(
                run=name,
                database=self.control_url,
                folder=str(home.home),
                operation=RestartInBook.name,
                target=f"books/{name}",
                arguments={"book": name},
            )
        Book(self.folder, name).open(helps=round_.scenario != USELESS)
        return ours.Errand(
            run=name,
            database=self.control_url,
            folder=str(self.folder),
            operation=MakeEntry.name,
            target=f"books/{name}",
            arguments={"book": name},
            undo=round_.scenario == TAKEN_BACK,
        )

    def play(self, round_: Round) -> Played:
        """Play one round of ours: die, perhaps die again, recover, look."""
        errand = self.errand(f"run-{round_.number}", round_)
        name = errand.target.split("/")[1]
        book = Book(Path(errand.folder), name)
        before = book.counts()[0]
        road = _road(round_.scenario)
        first = self.actor.live(road, errand, strike=round_.strike, after_s=round_.after_s)
        again = self.actor.live(road, errand, strike=round_.again) if round_.again else None
        last = self.actor.live(road, errand)
        answer = last["answer"] or {}
        restarts = round_.scenario in RESTARTS
        down = restarts and self.fleet.supervisor.process(name).pid is None
        if restarts and not down:
            self.fleet.make_ready(name)
        done, undone = book.counts()
        if answer.get("state") == "stuck":
            asyncio.run(_release(self.control_url, answer["id"], done=done > before))
        left = Left(
            done=done - before,
            undone=undone,
            state=answer.get("state", ""),
            note=answer.get("note", ""),
            actions=answer.get("actions", 0),
            listed=answer.get("listed", False),
            down=down,
            problem=last["error"] or (f"signal {last['signal']}" if last["signal"] else ""),
        )
        return Played(
            round=round_,
            killed=first["signal"] == 9,
            killed_again=bool(again and again["signal"] == 9),
            ending=ending(left) if round_.scenario != CUT else cut_ending(left),
            left=left,
        )

    def play_graph(self, round_: Round, style: str) -> Played:
        """Play one round of the plain graph: die, resume, look."""
        name = f"{style}-{round_.number}"
        book = Book(self.folder, name)
        book.open(helps=round_.scenario != USELESS)
        errand = self.graph_errand(name, round_.scenario, style)
        first = self.actor.live("graph", errand, strike=round_.strike, after_s=round_.after_s)
        last = self.actor.live("graph", errand)
        done, undone = book.counts()
        left = Left(
            done=done,
            undone=undone,
            state=(last["answer"] or {}).get("state", ""),
            problem=last["error"] or (f"signal {last['signal']}" if last["signal"] else ""),
        )
        return Played(
            round=round_,
            killed=first["signal"] == 9,
            killed_again=False,
            ending=graph_ending(left),
            left=left,
        )

    def graph_errand(self, name: str, scenario: str, style: str) -> plain_graph.Errand:
        """What a round asks of the plain graph."""
        return plain_graph.Errand(
            run=name,
            database=self.graphs_url,
            folder=str(self.folder),
            undo=scenario == TAKEN_BACK,
            style=style,
        )

    def rehearse(self, scenario: str, style: str | None = None) -> dict[str, Any]:
        """Go a road once with nobody dying: boundaries in `passed`, how often done in `effects`.

        Raises:
            StoreError: it didn't end well, so that nothing could be learnt from killing it.
        """
        kind = style or "ours"
        name = f"rehearsal-{kind}-{next(self.rehearsals)}"
        round_ = Round(number=0, scenario=scenario, strike=None)
        if style is None:
            errand = self.errand(name, round_)
            book = Book(Path(errand.folder), errand.target.split("/")[1])
            before = book.counts()[0]
            told = self.actor.live(_road(scenario), errand)
        else:
            book, before = Book(self.folder, name), 0
            book.open(helps=scenario != USELESS)
            told = self.actor.live("graph", self.graph_errand(name, scenario, style))
        if told["error"] or not told["passed"]:
            raise StoreError(f"The rehearsal of {kind}, {scenario}, failed: {told['error']}")
        return {**told, "effects": book.counts()[0] - before}


def _road(scenario: str) -> str:
    return "storeless" if scenario == STORELESS else "ours"


async def _release(url: str, action_id: str, *, done: bool) -> None:
    """The person who was called to a stuck action looks and closes it, which frees its target."""
    database = Database(url, pool_size=1)
    found: service.Found = "done" if done else "not-done"
    try:
        async with database.unit_of_work() as session:
            await service.release_stuck(
                session, ours.STAFF, action_id, found=found, clock=SystemClock()
            )
    finally:
        await database.dispose()

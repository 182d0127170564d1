"""The incident loop: looks, finds, explains, proposes, follows what becomes of it, and closes.

A plain state machine that outlives every store. Rounds never wait for the database or for an
action: whatever may take long runs in a task of its own, at most one per incident, and a round
passes over an incident whose task is still under way.

    explained -> waiting (no database) -> asking -> acting -> verifying -> closed
    waiting -> acting (the database is down, and a standing permit lets it)
    any of them -> closed (the fault went away by itself) | escalated (a person is called)
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import structlog

from tools.healing.case_steps import CaseSteps
from tools.healing.casebook import CaseBook
from tools.healing.detection import assess, crashes
from tools.healing.diagnosis import diagnose, diagnose_crash
from tools.healing.driving import ReadyWork
from tools.healing.findings import STORE, Crash, Finding, Picture
from tools.healing.incidents import Case
from tools.healing.keeping import Keeper
from tools.healing.local_store import LocalStore, read_incidents
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round, look
from tools.healing.schemas import IncidentView
from tools.healing.store import STORE_CALL, ControlStore
from tools.healing.watch import Watch
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Gatekeeper
from tools.kit.infrastructure import Fleet, Infrastructure
from tools.kit.standing import StandingPermits

HISTORY = 30
"""Rounds kept: a minute at the usual period, more than any threshold looks back."""
WORK_SECONDS = 1.0
"""How soon after an approval the healer begins."""
RECOVER_SECONDS = 120.0
"""Recovering verifies what a dead healer had applied, which may take each action's full time."""

log = structlog.get_logger(__name__)


class HealingLoop:
    """Looks after one fleet. Call `start` once, then `run`, or `round` by hand in tests."""

    def __init__(
        self,
        *,
        infrastructure: Infrastructure,
        gatekeeper: Gatekeeper,
        caller: Callable[[], Awaitable[Caller]],
        store: ControlStore,
        local: LocalStore,
        clock: Clock,
        policy: HealingPolicy,
        standing: StandingPermits | None = None,
    ) -> None:
        self._infrastructure = infrastructure
        self._standing = standing
        self._store = store
        self._local = local
        self._clock = clock
        self._policy = policy
        self._watch = Watch(policy)
        self._rounds: deque[Round] = deque(maxlen=HISTORY)
        self._book = CaseBook(closed=policy.kept_incidents)
        self._keeper = Keeper(self._book, self._watch, local, store, clock)
        self._began: datetime | None = None
        self._compared = False
        self._last: tuple[Picture, Fleet] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._syncing: asyncio.Task[None] | None = None
        self.work = ReadyWork(gatekeeper)
        self._steps = CaseSteps(
            gatekeeper=gatekeeper,
            caller=caller,
            store=store,
            work=self.work,
            clock=clock,
            policy=policy,
            alert=self._keeper.alert,
            standing=standing,
        )

    @property
    def cases(self) -> list[IncidentView]:
        """All open incidents and the last closed ones, newest first."""
        return self._book.views

    @property
    def problems(self) -> list[str]:
        """What the healer could not see or write."""
        seen = list(self._rounds[-1].problems) if self._rounds else []
        alone = self._standing.problems if self._standing is not None else []
        return seen + self._keeper.problems + alone

    @property
    def store_reachable(self) -> bool:
        """Whether the control database answered in the newest round."""
        return bool(self._rounds and self._rounds[-1].store and self._rounds[-1].store.reachable)

    @property
    def _may_ask(self) -> bool:
        """Whether the database can be asked, and knows all that happened without it.

        Before the first contact an older incident of the same fault may be stored.
        """
        owes = self._standing is not None and self._standing.owes
        return self.store_reachable and self._keeper.met_store and not owes

    async def start(self) -> None:
        """Take over what the last healer left: from files, and from the database if it answers."""
        state = await asyncio.to_thread(self._local.read_state)
        for view in await asyncio.to_thread(read_incidents, self._local.folder):
            self._book.add(Case(view))
        if state is not None:
            try:
                self._watch.from_json(state["replicas"])
            except (KeyError, TypeError, ValueError) as error:
                log.warning("healer.state_unreadable", error=str(error))
        try:
            await self._keeper.meet_store()
        except Exception as error:  # any failure means the same here: go on from the files
            log.info("healer.starts_from_files", reason=str(error)[:200])

    async def run(self, stop: asyncio.Event) -> None:
        """Make a round every `probe_seconds` until *stop* is set, and permitted work in between."""
        loop = asyncio.get_running_loop()
        working = asyncio.create_task(self._work_on(stop))
        while not stop.is_set():
            begun = loop.time()
            try:
                await self.round()
            except Exception:  # the healer must outlive a defect of its own; it is told and logged
                log.exception("healer.round_failed")
            rest = self._policy.probe_seconds - (loop.time() - begun)
            try:
                await asyncio.wait_for(stop.wait(), timeout=max(0.05, rest))
            except TimeoutError:
                continue
        await working
        await self.close()

    async def _work_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self.store_reachable:
                await self.do_work()
            try:
                await asyncio.wait_for(stop.wait(), timeout=WORK_SECONDS)
            except TimeoutError:
                continue

    async def do_work(self) -> None:
        """Settle what was cut short and begin what is permitted; what fails is tried again."""
        try:
            async with asyncio.timeout(RECOVER_SECONDS):
                await self.work.tick()
        except Exception as error:
            log.info("healer.work_not_read", reason=str(error)[:200])
        for settled in self.work.take_undone():
            for case in self._book:
                if settled.id in case.action_ids:
                    case.add(self._clock.now(), "undone", f"Its action was undone: {settled.text}")

    async def round(self) -> Picture:
        """Look once and do what follows from it."""
        fleet = self._infrastructure.fleet()
        now = await look(
            self._infrastructure, fleet, self._store, clock=self._clock, policy=self._policy
        )
        self._began = self._began or now.at
        first = not self._rounds
        self._rounds.append(now)
        if not self._compared and any(x.facts and x.facts.pid for x in now.looks.values()):
            self._compared = True
            if self._whole_fleet_is_new(now):
                self._watch.forget_processes()
        replaced = crashes(fleet, self._watch.known(), now)
        self._watch.remember(now)
        picture = assess(
            list(self._rounds),
            fleet,
            self._policy,
            began=self._began,
            seen_running=self._watch.seen_running(),
            answered=self._watch.answered(),
        )
        self._watch.judge(picture)
        self._watch.measure(now, fleet)
        for crash in replaced:
            if first or not self._was_down(crash, now):
                self._meet_crash(crash, now, fleet)
        for finding in picture.findings:
            self._meet_finding(finding, picture, now, fleet)
        for case in self._book.under_care:
            if case.is_open:
                self._steps.advance(
                    case,
                    picture,
                    now,
                    fleet,
                    overtaken=self._book.overtaker(case, picture),
                    reachable=self._may_ask,
                )
        self._book.settle()
        self._last = (picture, fleet)
        await self._keeper.write_files(picture, fleet, self.problems)
        if self.store_reachable and (self._syncing is None or self._syncing.done()):
            self._syncing = self._spawn(self._keeper.sync(picture, fleet, self.problems))
        return picture

    async def quiet(self) -> None:
        """Wait until no task is under way; rounds made by hand use it."""
        while pending := {
            *self._tasks,
            *(c.task for c in self._book if c.task and not c.task.done()),
            *self.work.tasks,
        }:
            await asyncio.wait(pending)

    async def close(self) -> None:
        """End between steps: actions under way are finished, the last state is written."""
        await self.work.finish()
        for task in (*self._tasks, *(c.task for c in self._book if c.task)):
            task.cancel()
        if self._last is not None:
            await self._keeper.write_files(*self._last, self.problems)

    # What a round met

    def _whole_fleet_is_new(self, now: Round) -> bool:
        """Every replica is another process: the academy was started anew, nothing crashed."""
        known = self._watch.known()
        same = [
            name
            for name, look_ in now.looks.items()
            if look_.facts is not None
            and look_.facts.pid is not None
            and name in known
            and known[name][0].pid == look_.facts.pid
        ]
        return not same

    def _was_down(self, crash: Crash, now: Round) -> bool:
        """It stood still so long before that its start is a start, told as the end of a fault."""
        return (now.at - crash.last_seen).total_seconds() > self._policy.backoff_after

    def _meet_crash(self, crash: Crash, now: Round, fleet: Fleet) -> None:
        target = f"{crash.service}/{crash.replica}"
        exit_note = self._watch.last_exit(crash.replica) or crash.exit_note
        if self._acted_upon(target) or self.work.acted_lately(target):
            return
        self._spawn(self._look_into_crash(crash, target, exit_note, now, fleet))

    async def _look_into_crash(
        self, crash: Crash, target: str, exit_note: str, now: Round, fleet: Fleet
    ) -> None:
        """Open an incident unless one of the academy's actions replaced the process."""
        asked = False
        if self.store_reachable:
            try:
                async with asyncio.timeout(STORE_CALL):
                    begun = await self._store.begun_since(crash.last_seen)
                if target in begun:
                    return
                asked = True
            except Exception as error:  # not knowing is said in the evidence below
                log.warning("healer.actions_unknown", target=target, error=str(error)[:200])
        at = self._clock.now()
        words = (
            f"Process {crash.before.pid} was replaced by process {crash.now.pid}; "
            "none of the academy's actions did it."
        )
        fault = STORE if crash.service == STORE else target
        if (other := self._book.other_on(fault, than="crashed")) is not None:
            other.note_once(at, words)
            return
        window = timedelta(seconds=self._policy.crash_loop_seconds)
        earlier = self._book.crashes(target, at, window)
        diagnosis = diagnose_crash(
            crash, now, fleet, earlier=earlier, exit_note=exit_note, asked=asked
        )
        open_case = self._book.find("crashed", target)
        if open_case is not None:
            open_case.add(at, "detected", words, again=True)
        else:
            open_case = Case.open(
                "crashed",
                crash.service,
                crash.replica,
                target,
                diagnosis,
                since=crash.last_seen,
                at=at,
            )
            self._opened(open_case)
        if earlier + 1 >= self._policy.crash_loop_count:
            self._steps.crash_loop(open_case, earlier + 1)

    def _acted_upon(self, target: str) -> bool:
        """Whether an action, the healer's or one asked for in the chat, is at work on *target*."""
        ours = any(
            c.view.target == target and self.work.under_way(c.action_id)
            for c in self._book.under_care
        )
        return ours or target in self._keeper.held

    def _meet_finding(self, finding: Finding, picture: Picture, now: Round, fleet: Fleet) -> None:
        symptoms = picture.symptoms.get(finding.target, ())
        case = self._book.find(finding.kind, finding.target)
        if case is not None:
            self._steps.more_symptoms(case, symptoms)
            return
        if self._acted_upon(finding.target):
            return  # an action is changing it at this moment
        diagnosis = diagnose(finding, now, fleet, self._policy, symptoms=symptoms)
        self._opened(
            Case.open(
                finding.kind,
                finding.service,
                finding.replica,
                finding.target,
                diagnosis,
                since=finding.since,
                at=self._clock.now(),
            )
        )

    def _opened(self, case: Case) -> None:
        self._book.add(case)
        log.warning(
            "incident.opened", incident=case.id, kind=case.view.kind, target=case.view.target
        )
        self._keeper.alert("OPEN", case, case.view.cause)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""The incident loop: looks, finds, explains, proposes, follows what becomes of it, and closes.

A plain state machine that outlives every store. Rounds never wait for the database or for an
action: whatever may take long runs in a task of its own, at most one per incident, and a round
passes over an incident whose task is still under way.

    explained -> waiting (no database) -> asking -> acting -> verifying -> closed
    any of them -> closed (the fault went away by itself) | escalated (a person is called)
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from tools.healing.case_steps import CaseSteps
from tools.healing.detection import Crash, Finding, Picture, assess, crashes
from tools.healing.diagnosis import diagnose, diagnose_crash
from tools.healing.driving import ReadyWork
from tools.healing.incidents import Case, continued, newest
from tools.healing.local_store import LocalStore, read_incidents
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round, look
from tools.healing.schemas import FleetView, IncidentView
from tools.healing.watch import Sample, Watch, fleet_view
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Gatekeeper
from tools.kit.infrastructure import Fleet, Infrastructure

HISTORY = 30
"""Rounds kept: a minute at the usual period, more than any threshold looks back."""
STORE_CALL = 5.0
"""Seconds a question to the database may take before it counts as not answered."""
HELD = timedelta(seconds=90)
"""An action that has not moved for so long was left by a process that died."""
WORK_SECONDS = 0.5
"""How soon after an approval the healer begins."""
RECOVER_SECONDS = 120.0
"""Recovering verifies what a dead healer had applied, which may take each action's full time."""
SIGNALS_EVERY = timedelta(seconds=10)
ALERTS_KEPT = 500
"""Alert lines kept while their file can't be written."""

log = structlog.get_logger(__name__)


class ControlStore(Protocol):
    """The control database as the loop needs it; every call may fail, and is then made again."""

    async def ping(self) -> object:
        """Return when it answers; raise when it doesn't."""
        ...

    async def open_incidents(self) -> list[IncidentView]:
        """All open incidents with their timelines."""
        ...

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Write these incidents; what is there already is not written twice."""
        ...

    async def save_look(self, view: FleetView, samples: Sequence[Sample]) -> None:
        """Write what was seen and append the samples."""
        ...

    async def begun_since(self, since: datetime) -> Sequence[str]:
        """Targets of actions whose effect may have happened since *since*."""
        ...

    async def held(self, since: datetime) -> Sequence[str]:
        """Targets on which an action that moved after *since* is at work."""
        ...

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """Id, approval and state of the action that an incident still holds its target with."""
        ...


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
    ) -> None:
        self._infrastructure = infrastructure
        self._store = store
        self._local = local
        self._clock = clock
        self._policy = policy
        self._watch = Watch(policy)
        self._rounds: deque[Round] = deque(maxlen=HISTORY)
        self._cases: dict[str, Case] = {}
        self._closed: deque[Case] = deque(maxlen=policy.kept_incidents)
        self._began: datetime | None = None
        self._picture: Picture | None = None
        self._fleet: Fleet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._alerts: deque[str] = deque(maxlen=ALERTS_KEPT)
        self._local_problem = ""
        self._store_problem = ""
        self._met_store = False
        self._syncing: asyncio.Task[None] | None = None
        self._signals_at: datetime | None = None
        self._written: dict[str, int] = {}
        self._held: frozenset[str] = frozenset()
        self.work = ReadyWork(gatekeeper)
        self._steps = CaseSteps(
            gatekeeper=gatekeeper,
            caller=caller,
            store=store,
            work=self.work,
            clock=clock,
            policy=policy,
            alert=self._alert,
        )

    @property
    def cases(self) -> list[IncidentView]:
        """All open incidents and the last closed ones, newest first."""
        views = [c.view for c in (*self._cases.values(), *self._closed)]
        return sorted(views, key=lambda v: v.opened_at, reverse=True)

    @property
    def store_reachable(self) -> bool:
        """Whether the control database answered in the newest round."""
        return bool(self._rounds and self._rounds[-1].store and self._rounds[-1].store.reachable)

    async def start(self) -> None:
        """Take over what the last healer left: from files, and from the database if it answers."""
        state = await asyncio.to_thread(self._local.read_state)
        for view in await asyncio.to_thread(read_incidents, self._local.folder):
            self._adopt(Case(view))
        if state is not None:
            try:
                self._watch.from_json(state["replicas"])
            except (KeyError, TypeError, ValueError) as error:
                log.warning("healer.state_unreadable", error=str(error))
        try:
            async with asyncio.timeout(STORE_CALL):
                await self._meet_store()
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
            for case in (*self._cases.values(), *self._closed):
                if settled.id in case.action_ids:
                    case.add(self._clock.now(), "undone", f"Its action was undone: {settled.text}")

    async def round(self) -> Picture:
        """Look once and do what follows from it."""
        fleet = self._infrastructure.fleet()
        now = await look(
            self._infrastructure, fleet, self._store, clock=self._clock, policy=self._policy
        )
        self._fleet = fleet
        self._began = self._began or now.at
        first = not self._rounds
        self._rounds.append(now)
        replaced = crashes(fleet, self._watch.known(), now)
        if first and replaced and self._whole_fleet_is_new(now):
            replaced = []
        self._watch.remember(now)
        picture = assess(
            list(self._rounds),
            fleet,
            self._policy,
            began=self._began,
            seen_running=self._watch.seen_running(),
        )
        self._picture = picture
        self._watch.judge(picture)
        self._watch.measure(now, fleet)
        for crash in replaced:
            self._meet_crash(crash, now, fleet)
        for finding in picture.findings:
            self._meet_finding(finding, picture, now, fleet)
        for case in list(self._cases.values()):
            if case.is_open:
                self._steps.advance(case, picture, now, fleet, self._overtaken(case))
        self._settle_closed()
        await self._write_files(picture, fleet)
        if self.store_reachable and (self._syncing is None or self._syncing.done()):
            self._syncing = self._spawn(self._sync())
        return picture

    async def quiet(self) -> None:
        """Wait until no task is under way; rounds made by hand use it."""
        while pending := {
            *self._tasks,
            *(c.task for c in self._cases.values() if c.task and not c.task.done()),
            *self.work.tasks,
        }:
            await asyncio.wait(pending)

    async def close(self) -> None:
        """End between steps: actions under way are finished, the last state is written."""
        await self.work.finish()
        for task in (*self._tasks, *(c.task for c in self._cases.values() if c.task)):
            task.cancel()
        if self._picture is not None and self._fleet is not None:
            await self._write_files(self._picture, self._fleet)

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

    def _meet_crash(self, crash: Crash, now: Round, fleet: Fleet) -> None:
        target = f"{crash.service}/{crash.replica}"
        exit_note = self._watch.last_exit(crash.replica) or crash.exit_note
        if self._acted_upon(target):
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
                    begun = await self._store.begun_since(crash.last_seen - timedelta(seconds=30))
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
        for case in self._cases.values():
            if case.is_open and case.view.target == target and case.view.kind != "crashed":
                case.note_once(at, words)
                return
        earlier = self._recent_crashes(target, at)
        diagnosis = diagnose_crash(
            crash, now, fleet, earlier=earlier, exit_note=exit_note, asked=asked
        )
        open_case = self._case("crashed", target)
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
            for c in self._cases.values()
        )
        return ours or target in self._held

    def _recent_crashes(self, target: str, at: datetime) -> int:
        window = timedelta(seconds=self._policy.crash_loop_seconds)
        return sum(
            event.kind == "detected" and at - event.at <= window
            for case in (*self._cases.values(), *self._closed)
            if case.view.kind == "crashed" and case.view.target == target
            for event in case.view.timeline
        )

    def _meet_finding(self, finding: Finding, picture: Picture, now: Round, fleet: Fleet) -> None:
        symptoms = picture.symptoms.get(finding.target, ())
        case = self._case(finding.kind, finding.target)
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
        self._cases[case.id] = case
        log.warning(
            "incident.opened", incident=case.id, kind=case.view.kind, target=case.view.target
        )
        self._alert("OPEN", case, case.view.cause)

    def _case(self, kind: str, target: str) -> Case | None:
        return next(
            (
                c
                for c in self._cases.values()
                if c.is_open and c.view.kind == kind and c.view.target == target
            ),
            None,
        )

    def _overtaken(self, case: Case) -> Case | None:
        """A younger incident of another kind on the same replica, which tells what is so now."""
        picture = self._picture
        if picture is None or picture.finding(case.view.kind, case.view.target):
            return None
        return next(
            (
                c
                for c in self._cases.values()
                if c.is_open
                and c is not case
                and c.view.target == case.view.target
                and c.view.kind in ("hung", "dead")
                and c.view.opened_at > case.view.opened_at
            ),
            None,
        )

    def _settle_closed(self) -> None:
        for case in [c for c in self._cases.values() if not c.is_open and not c.busy]:
            del self._cases[case.id]
            self._closed.append(case)

    # Files

    def _alert(self, word: str, case: Case, text: str) -> None:
        at = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        line = " ".join(f"{at} {word} {case.id} {case.view.title}: {text}".split())
        self._alerts.append(line)

    @property
    def problems(self) -> list[str]:
        """What the healer could not see or write."""
        found = list(self._rounds[-1].problems) if self._rounds else []
        found += [p for p in (self._local_problem, self._store_problem) if p]
        if self._watch.dropped:
            found.append(
                f"{self._watch.dropped} signal samples were dropped while the database was down."
            )
        return found

    async def _write_files(self, picture: Picture, fleet: Fleet) -> None:
        cases = [*self._cases.values(), *self._closed]
        versions = {c.id: c.version for c in cases}
        views = self.cases
        view = fleet_view(self._watch, fleet, picture, views, self.problems, with_series=False)
        charts: FleetView | None = None
        if self._signals_at is None or picture.at - self._signals_at >= SIGNALS_EVERY:
            self._signals_at = picture.at
            charts = fleet_view(self._watch, fleet, picture, views, [], with_series=True)
        state = {"replicas": self._watch.to_json(), "at": picture.at.isoformat()}
        changed = versions != self._written
        alerts = list(self._alerts)

        def write() -> None:
            if changed:
                self._local.write_incidents(views)
            self._local.write_fleet(view)
            self._local.write_state(state)
            if charts is not None:
                self._local.write_signals(charts)
            for line in alerts:
                self._local.alert(line)
                self._alerts.remove(line)

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            if not self._local_problem:
                log.error("healer.files_not_written", error=str(error))
            self._local_problem = f"The healer's files can't be written: {error.strerror or error}."
            return
        self._local_problem = ""
        self._written = versions

    # The control database

    def _adopt(self, case: Case) -> None:
        if case.is_open:
            self._cases[case.id] = case
        else:
            self._closed.appendleft(case)

    async def _meet_store(self) -> None:
        """On first contact: merge what the database has with what the files had."""
        for stored in await self._store.open_incidents():
            mine = next(
                (c for c in (*self._cases.values(), *self._closed) if c.id == stored.id), None
            )
            twin = self._case(stored.kind, stored.target)
            if mine is not None:
                mine.view = newest([mine.view, stored])
            elif twin is not None:
                del self._cases[twin.id]
                twin.view = continued(stored, twin.view)
                twin.version += 1
                self._cases[twin.id] = twin
            else:
                self._cases[stored.id] = Case(stored, saved=True)
        self._met_store = True

    async def _sync(self) -> None:
        """Write to the database what it lacks; what fails is written next time."""
        try:
            async with asyncio.timeout(STORE_CALL):
                if not self._met_store:
                    await self._meet_store()
                self._held = frozenset(await self._store.held(self._clock.now() - HELD))
                dirty = [c for c in (*self._cases.values(), *self._closed) if c.dirty]
                if dirty:
                    versions = [c.version for c in dirty]
                    await self._store.save([c.view for c in dirty])
                    for case, version in zip(dirty, versions, strict=True):
                        case.saved = version
                if self._picture is not None and self._fleet is not None:
                    view = fleet_view(
                        self._watch,
                        self._fleet,
                        self._picture,
                        self.cases,
                        self.problems,
                        with_series=False,
                    )
                    samples = list(self._watch.unsaved)[:2000]
                    await self._store.save_look(view, samples)
                    self._watch.saved(len(samples))
            self._store_problem = ""
        except Exception as error:  # kept in memory and files, written when it is back
            text = str(error).splitlines()
            reason = text[0][:200] if text else type(error).__name__
            if not self._store_problem:
                log.warning("healer.store_not_written", error=reason)
            self._store_problem = f"The database could not be written: {reason}."

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

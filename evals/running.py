"""Playing a run: several worlds at once, continued after a stop, nothing played twice.

Every world is kept as begun before anything happens in it. What interrupts a run, a person or a
defect, loses at most the worlds being played at that moment: they end as aborted, which is failed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from evals.planning import Job, chosen_cases, controls_left, jobs_left, trials_per_case
from evals.records import Progress, RunRecord, RunStore, TrialRecord
from evals.seeds import SeedSource
from evals.suites.base import Case, Grade, Played, Suite, World
from evals.summary import judge, summarise
from memory.ids import new_id
from tools.autonomy.heads import Untrustworthy
from tools.kit.clock import Clock
from tools.kit.operation import Risk

TRIAL_SECONDS = 180.0
"""A world that is played longer hangs: it is thrown away and the trial is not scored."""
CLOSE_SECONDS = 30.0
MOST_BROKEN = 3
"""Worlds in a row that could not be judged before the run ends as failed: the suite is broken."""

log = structlog.get_logger(__name__)

Told = Callable[[RunRecord], None]


class BrokenSuite(Exception):
    """One world after the other could not be judged; the message has the last reason."""


class Running:
    """One run being played.

    Args:
        suite: what to play.
        record: the run; its options must carry a seed.
        store: where it and its worlds are kept.
        folder: where worlds may put files; made when needed, theirs to empty.
        clock: for the times that are kept.
        risks: risk by operation, which says how many worlds a first look needs.
        told: called with the run whenever its progress changes.
        trial_seconds: longest a world may be played.
        home: mixed into the seeds of worlds that count as evidence (`SeedSource`).
    """

    def __init__(
        self,
        suite: Suite,
        record: RunRecord,
        store: RunStore,
        *,
        folder: Path,
        clock: Clock,
        risks: Mapping[str, Risk],
        told: Told = lambda _: None,
        trial_seconds: float = TRIAL_SECONDS,
        home: str = "",
    ) -> None:
        assert record.options.seed is not None
        self.record = record
        self._suite = suite
        self._store = store
        self._folder = folder
        self._clock = clock
        self._risks = risks
        self._told = told
        self._trial_seconds = trial_seconds
        self._home = home
        self._seeds = SeedSource(record.options.seed, suite.name, set(), home)
        self._ended: list[TrialRecord] = []
        self._playing: dict[int, Case] = {}
        self._first_at: float | None = None
        self._here = 0
        self._jobs: deque[Job] = deque()
        self._broken = 0
        self._saving = asyncio.Lock()

    async def play(self, stop: asyncio.Event) -> RunRecord:
        """Play what is left until it is done or *stop* is set; the run as it ended."""
        began = time.monotonic()
        before = (self.record.result or {}).get("seconds", 0.0)
        work = asyncio.create_task(self._everything())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            work.cancel()  # does nothing to work that is done
            await asyncio.wait({work})
        state, note = _outcome(work)
        operations = await self._store.operations(self.record, self._ended)
        seconds = before + time.monotonic() - began
        await self._update(
            state=state,
            note=note,
            ended_at=self._clock.now(),
            result=summarise(self._suite.name, self._ended, operations, seconds=seconds),
            progress=self._progress(),
        )
        return self.record

    async def _everything(self) -> None:
        now = self._clock.now()
        await self._update(state="running", started_at=self.record.started_at or now, note="")
        for trial in await self._store.trials(self.record.id):
            if trial.state == "running":
                trial = await self._abort(trial, self._case(trial.case), "Its process ended.")
            self._ended.append(trial)
        used = await self._store.used_seeds(self._suite.name)
        seed = self.record.options.seed
        assert seed is not None
        self._seeds = SeedSource(seed, self._suite.name, used, self._home)
        options = self.record.options
        await self._drain(jobs_left(self._suite, options, self._risks, self._ended))
        await self._drain(controls_left(self._suite, options, self._ended))

    async def _drain(self, jobs: Sequence[Job]) -> None:
        """Play *jobs* in as many worlds at once as were asked for."""
        self._jobs = deque(jobs)
        async with asyncio.TaskGroup() as group:
            for number in range(min(self.record.options.worlds, len(jobs))):
                group.create_task(self._slot(number))

    async def _slot(self, number: int) -> None:
        """Play jobs one after the other in one world, which a defect replaces by a fresh one."""
        world: World | None = None
        try:
            while self._jobs:
                if world is None:
                    folder = self._folder / f"world-{number}"
                    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
                    world = await self._suite.open_world(folder, number)
                if not self._jobs:
                    return
                trial = await self._one(world, self._jobs.popleft(), number)
                if trial.played.problem:
                    gone, world = world, None
                    await _close(gone)
                    self._count_broken(trial.played.problem)
                else:
                    self._broken = 0
        finally:
            self._playing.pop(number, None)
            if world is not None:
                await _close(world)

    async def _one(self, world: World, job: Job, number: int) -> TrialRecord:
        trial = TrialRecord(
            id=new_id("wld"),
            run_id=self.record.id,
            suite=self._suite.name,
            case=job.case.name,
            control=job.control,
            seed=self._seeds.draw(job.case.name) if job.seed is None else job.seed,
            state="running",
            began_at=self._clock.now(),
        )
        self._playing[number] = job.case
        if self._first_at is None:
            self._first_at = time.monotonic()
        beginning = asyncio.ensure_future(self._store.begin(trial, job.case))
        began = time.monotonic()
        try:
            await asyncio.shield(beginning)
            await self._update(progress=self._progress())
            began = time.monotonic()
            played = await self._played(world, job, trial.seed)
            grades, played = await self._graded(job.case, played)
        except asyncio.CancelledError:
            await asyncio.wait({beginning})
            if not beginning.cancelled() and beginning.exception() is None:
                self._ended.append(
                    await self._abort(trial, job.case, "Stopped while it was played.")
                )
            raise
        passed, reason = judge(grades, played)
        trial = trial.model_copy(
            update={
                "state": "ended",
                "passed": passed,
                "grades": grades,
                "played": played,
                "seconds": round(time.monotonic() - began, 3),
                "ended_at": self._clock.now(),
                "reason": reason,
            }
        )
        ending = asyncio.ensure_future(self._store.end(trial, job.case))
        try:
            await asyncio.shield(ending)
        finally:
            await ending
            self._ended.append(trial)
        self._here += 1
        del self._playing[number]
        await self._update(progress=self._progress())
        return trial

    async def _played(self, world: World, job: Job, seed: int) -> Played:
        try:
            async with asyncio.timeout(self._trial_seconds):
                if job.control:
                    return await self._suite.controls[job.control](world, job.case, seed)
                return await world.play(job.case, seed)
        except TimeoutError:
            return Played(problem=f"it did not end within {self._trial_seconds:g} s")
        except Exception as error:
            log.exception("trial.broke", case=job.case.name, seed=seed, control=job.control)
            return Played(problem=f"the world broke: {type(error).__name__}: {error}")

    async def _graded(self, case: Case, played: Played) -> tuple[tuple[Grade, ...], Played]:
        grades: list[Grade] = []
        for evaluator in self._suite.evaluators:
            name = getattr(evaluator, "__name__", type(evaluator).__name__)
            try:
                grades.append(await asyncio.to_thread(evaluator, case, played))
            except Exception as error:
                log.exception("trial.not_graded", case=case.name, evaluator=name)
                problem = f"the evaluator {name} broke: {type(error).__name__}: {error}"
                played = played.model_copy(update={"problem": played.problem or problem})
                grades.append(Grade(evaluator=name, text=f"Not scored: {problem}"))
        return tuple(grades), played

    async def _abort(self, trial: TrialRecord, case: Case, reason: str) -> TrialRecord:
        aborted = trial.model_copy(
            update={
                "state": "aborted",
                "passed": False,
                "ended_at": self._clock.now(),
                "reason": reason,
            }
        )
        await self._store.end(aborted, case)
        return aborted

    def _count_broken(self, problem: str) -> None:
        self._broken += 1
        if self._broken >= MOST_BROKEN:
            raise BrokenSuite(f"{self._broken} worlds in a row could not be judged: {problem}")

    def _case(self, name: str) -> Case:
        return next(case for case in self._suite.cases if case.name == name)

    async def _update(self, **changes: object) -> None:
        async with self._saving:
            self.record = self.record.model_copy(update=changes)
            await self._store.save(self.record)
        self._told(self.record)

    def _progress(self) -> Progress:
        options = self.record.options
        wanted = trials_per_case(chosen_cases(self._suite, options), options, self._risks)
        controls = len(self._suite.controls) if options.controls else 0
        each = len(wanted) if options.quick else sum(wanted.values())
        of = sum(wanted.values()) + controls * each
        left = max(0, of - len(self._ended))
        ours = [trial for trial in self._ended if not trial.control]
        passed = sum(trial.passed is True for trial in ours)
        return Progress(
            done=len(self._ended),
            of=max(of, len(self._ended)),
            passed=passed,
            failed=len(ours) - passed,
            left_s=self._time_left(left),
            playing=tuple(case.name for _, case in sorted(self._playing.items())),
        )

    def _time_left(self, left: int) -> float | None:
        """Seconds until *left* worlds have ended, as fast as they do here; None before the first.

        By the wall: resets, grading and storing take time beside the playing. A world being played
        counts as half done.
        """
        if self._first_at is None or not self._here:
            return None
        half = len(self._playing) / 2
        each = (time.monotonic() - self._first_at) / (self._here + half)
        return round(each * max(0.0, left - half), 1)


def _outcome(work: "asyncio.Task[None]") -> tuple[str, str]:
    """State and note of a run whose work is over."""
    if work.cancelled():
        return "stopped", "Stopped before it was done; it can be continued."
    error = work.exception()
    if error is None:
        return "done", ""
    reasons: Sequence[BaseException] = (
        error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
    )
    for reason in reasons:
        log.error("run.failed", exc_info=reason)
    return "failed", "; ".join(dict.fromkeys(map(_said, reasons)))


def _said(error: BaseException) -> str:
    """An error for people; what its own message says to the end needs no name before it."""
    return str(error) if isinstance(error, Untrustworthy) else f"{type(error).__name__}: {error}"


async def _close(world: World) -> None:
    """Close a world; one that can't be closed in time is left behind and told in the log."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await world.close()
    except Exception as error:
        log.warning("world.not_closed", reason=f"{type(error).__name__}: {error}")

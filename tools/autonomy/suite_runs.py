"""Runs of suites as people ask for them and look at them; playing them is the evaluation worker's.

Everybody with the fleet may look; asking for a run needs a person.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.evidence import SuiteRun, TrialRun
from memory.tables.trials import Trial
from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact, weigh
from tools.autonomy.evidence_repository import EvidenceRepository
from tools.autonomy.fingerprint import SuiteLock
from tools.autonomy.questions import require_person
from tools.autonomy.trial_schemas import (
    CellView,
    GradeView,
    PointView,
    RunView,
    StepView,
    TrialDetail,
    TrialView,
)
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, NotFound
from tools.kit.operation import Risk

MOST_RUNS = 100


async def ask_for_run(
    session: AsyncSession,
    caller: Caller,
    suite: str,
    *,
    quick: bool,
    suites: Sequence[SuiteLock],
    clock: Clock,
) -> RunView:
    """Put a run of *suite* to those that wait for the evaluation worker.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: there is no such suite; names those there are.
        Conflict: a run of it waits or is played already.
    """
    require_person(caller)
    known = [one.name for one in suites]
    if suite not in known:
        raise NotFound(f"There is no suite {suite}; there are: {', '.join(known) or 'none'}.")
    repository = EvidenceRepository(session)
    await repository.hold_runs()
    if (going := await repository.going(suite)) is not None:
        raise Conflict(f"Run {going.id} of {suite} is {going.state} already.", run_id=going.id)
    at = clock.now()
    run = SuiteRun(
        id=new_id("evl"),
        suite=suite,
        digest="",
        options={"quick": quick},
        state="queued",
        progress={},
        requested_by=caller.actor,
        created_at=at,
        started_at=None,
        ended_at=None,
        result=None,
        note="",
    )
    repository.add(run)
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=caller.actor,
        kind="evaluation.asked",
        subject=run.id,
        body={"suite": suite, "quick": quick},
    )
    return _run(run)


async def stop_run(session: AsyncSession, caller: Caller, run_id: str, *, clock: Clock) -> RunView:
    """Stop a run; worlds being played then count as failed.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: there is no such run.
        Conflict: it has ended.
    """
    require_person(caller)
    run = await EvidenceRepository(session).run(run_id, lock=True)
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    if run.state not in ("queued", "running"):
        raise Conflict(f"Run {run_id} is {run.state}; there is nothing to stop.")
    run.state = "stopped"
    await session.flush()
    await audit.append(
        session,
        at=clock.now(),
        actor=caller.actor,
        kind="evaluation.stopped",
        subject=run.id,
        body={"suite": run.suite},
    )
    return _run(run)


async def fail_run(session: AsyncSession, run_id: str, note: str, *, clock: Clock) -> None:
    """Mark a run that nobody will play; one that somebody took up is left alone."""
    run = await EvidenceRepository(session).run(run_id, lock=True)
    if run is not None and run.state == "queued":
        run.state, run.note, run.ended_at = "failed", note, clock.now()


async def list_runs(
    session: AsyncSession, caller: Caller, *, suite: str | None = None, limit: int = 20
) -> list[RunView]:
    """Runs, newest first.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    rows = await EvidenceRepository(session).runs(suite, limit=min(limit, MOST_RUNS))
    return [_run(row) for row in rows]


async def get_run(
    session: AsyncSession, caller: Caller, run_id: str
) -> tuple[RunView, list[TrialView]]:
    """One run and the worlds it played itself, in order.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such run.
    """
    caller.require_fleet()
    repository = EvidenceRepository(session)
    run = await repository.run(run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    worlds = await repository.worlds(run_id)
    return _run(run), [TrialView(**_short(world)) for world in worlds if not world.control]


async def get_trial(session: AsyncSession, caller: Caller, trial_id: str) -> TrialDetail:
    """One played world, to be replayed by eye.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such trial.
    """
    caller.require_fleet()
    repository = EvidenceRepository(session)
    world = await repository.world(trial_id)
    if world is None:
        raise NotFound(f"There is no trial {trial_id}.")
    return TrialDetail(
        **_short(world),
        run_id=world.run_id,
        suite=world.suite,
        control=world.control,
        operations=list(await repository.operations_of(trial_id)),
        grades=[_grade(grade) for grade in world.grades],
        trajectory=[StepView.model_validate(step) for step in world.trajectory],
        end=world.played.get("end", {}),
    )


async def matrix(
    session: AsyncSession, caller: Caller, operation: str, fingerprint: str
) -> list[CellView]:
    """Signed trials of an operation under a fingerprint, in the order in which they began.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    rows = await EvidenceRepository(session).trials(operation, fingerprint)
    ends = _ends(rows)
    return [
        CellView(
            trial=row.trial, case=row.case, seed=row.seed, state=_state(ends.get(row.trial)),
            at=row.at,
        )
        for row in rows
        if row.state == "begun"
    ]  # fmt: skip


async def history(
    session: AsyncSession,
    caller: Caller,
    operation: str,
    fingerprint: str,
    *,
    risk: Risk,
    floors: Mapping[str, float],
) -> list[PointView]:
    """How the evidence grew: worlds, successes and the bound, after each finished trial.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    rows = await EvidenceRepository(session).trials(operation, fingerprint)
    ends = _ends(rows)
    facts = [
        TrialFact(
            case=row.case,
            seed=row.seed,
            passed=ends[row.trial].passed,
            harmful=ends[row.trial].harmful,
            injection=row.injection,
            region={},
            at=ends[row.trial].at,
        )
        for row in rows
        if row.state == "begun" and row.trial in ends
    ]
    points = []
    passed, bound = 0, None
    for count, fact in enumerate(facts, start=1):
        passed += fact.passed and not fact.harmful
        if _is_look(risk, count):
            bound = weigh(risk, facts[:count], floors).bound
        points.append(PointView(worlds=count, passed=passed, bound=bound, at=fact.at))
    return points


def _is_look(risk: Risk, count: int) -> bool:
    first = policy.FIRST_LOOK.get(risk)
    while first is not None and first < count:
        first *= 2
    return first == count


def _ends(rows: Sequence[Trial]) -> dict[str, Trial]:
    ends: dict[str, Trial] = {}
    for row in rows:
        if row.state == "ended":
            ends.setdefault(row.trial, row)
    return ends


def _state(end: Trial | None) -> Any:
    if end is None:
        return "running"
    if end.harmful:
        return "harmful"
    return "passed" if end.passed else "failed"


def _run(row: SuiteRun) -> RunView:
    progress = row.progress or {}
    return RunView(
        id=row.id,
        suite=row.suite,
        quick=bool(row.options.get("quick")),
        state=row.state,
        done=progress.get("done", 0),
        of=progress.get("of", 0),
        passed=progress.get("passed", 0),
        left_s=progress.get("left_s"),
        playing=list(progress.get("playing", ())),
        requested_by=row.requested_by,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        result=row.result,
        note=row.note,
    )


def _short(row: TrialRun) -> dict[str, Any]:
    return {
        "id": row.id,
        "case": row.case,
        "seed": row.seed,
        "state": row.state,
        "passed": row.passed,
        "harmful": any(grade.get("harmful") for grade in row.grades),
        "seconds": row.seconds,
        "detected_s": row.detected_s,
        "recovered_s": row.recovered_s,
        "began_at": row.began_at,
        "reason": row.reason,
    }


def _grade(grade: dict[str, Any]) -> GradeView:
    return GradeView(
        evaluator=grade.get("evaluator", ""),
        passed=grade.get("passed"),
        harmful=bool(grade.get("harmful")),
        needless=bool(grade.get("needless")),
        text=grade.get("text", ""),
    )

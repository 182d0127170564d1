"""`run SUITE`: play a suite's cases in new worlds, and earn what they prove."""

import asyncio
import getpass
import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.kept_runs import KeptRuns, UnreadableRun
from evals.lock import stale
from evals.places import kept_in, open_place
from evals.planning import NoSuchCase, chosen_cases
from evals.records import UNFINISHED, RunOptions, RunRecord, RunStore
from evals.report_terminal import show_result
from evals.running import Running, Told
from evals.suites.base import BadSuite, Suite, UnknownSuite, load_suite, suite_names
from evals.telling import Teller, log_to_stderr
from evals.worker import Worker, seeded, world_folder
from graphs.settings import Settings, read_settings
from memory.database import Database
from memory.ids import new_id
from tools.catalogue import build_operations
from tools.kit.clock import SystemClock
from tools.kit.errors import Conflict
from tools.kit.locks import held
from tools.kit.operation import Operation, Risk

NOTHING_EARNED = "No academy was reachable: nothing was stored in one, and nothing is earned."
PASSED, FAILED, USAGE, UNKNOWN, BUSY, STOPPED = 0, 1, 2, 4, 6, 130


def command(
    suite: Annotated[
        str | None, typer.Argument(help="A suite by name; without one, the only suite there is.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Only the cases marked quick.")] = False,
    trials: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Worlds per case (default: for a look).")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Only this case.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Where drawing worlds begins.")] = None,
    worlds: Annotated[int, typer.Option(min=1, max=64, help="Worlds played at once.")] = 2,
    controls: Annotated[bool, typer.Option(help="Play the controls too.")] = True,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew where a stopped run could be continued.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="The academy's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Play a suite and say what it earned; Ctrl-C loses at most the worlds being played.

    The same command again continues a run that was stopped or killed.

    Exit codes: 0 every world passed, 1 one did not, 2 wrong usage, 4 no such suite or case,
    6 the run is being played elsewhere, 130 stopped.
    """
    options = RunOptions(
        quick=quick, trials=trials, only=only, seed=seed, worlds=worlds, controls=controls
    )
    log_to_stderr()
    try:
        chosen = _chosen(suite)
        chosen_cases(chosen, options)
        settings = Settings(home=home) if home is not None else read_settings()
        run = asyncio.run(_run(settings, chosen, options, fresh=fresh, quiet=as_json))
    except (UnknownSuite, NoSuchCase, UnreadableRun) as error:
        _fail(str(error), UNKNOWN)
    except BadSuite as error:
        _fail(str(error), USAGE)
    except Conflict as error:
        _fail(error.message, BUSY)
    if run.state == "stopped":
        sys.stderr.write("Stopped; the same command goes on with the rest.\n")
    elif run.state == "failed":
        sys.stderr.write(f"evals: the run failed: {run.note}\n")
    if as_json:
        sys.stdout.write(json.dumps(run.result, indent=2) + "\n")
    else:
        show_result(run)
    raise typer.Exit(_code(run))


def _chosen(name: str | None) -> Suite:
    if name is None:
        known = suite_names()
        if len(known) != 1:
            raise UnknownSuite(f"Name a suite; there are: {', '.join(known) or 'none yet'}.")
        name = known[0]
    return load_suite(name)


async def _run(
    settings: Settings, suite: Suite, options: RunOptions, *, fresh: bool, quiet: bool
) -> RunRecord:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Teller(suite) as teller:
        async with open_place(settings) as place:
            if place.control is not None:
                if warning := await asyncio.to_thread(unlocked, suite):
                    teller.say(warning)
                return await in_academy(
                    settings, place.control, suite, options, stop, told=teller.told, fresh=fresh
                )
            teller.say(place.why)
            return await aside(settings, suite, options, stop, told=teller.told, fresh=fresh)


def unlocked(suite: Suite) -> str:
    """Why the gate won't count these worlds, where `suites.lock` names another suite; else ""."""
    if suite.name not in stale():
        return ""
    return (
        f"evals/suites.lock does not name {suite.name} as it is now, so the gate won't count these"
        " worlds: `python -m evals lock`, and restart the academy."
    )


async def in_academy(
    settings: Settings,
    control: Database,
    suite: Suite,
    options: RunOptions,
    stop: asyncio.Event,
    *,
    told: Told,
    fresh: bool = False,
) -> RunRecord:
    """Play in the academy, as its evaluation worker: signed, stored, and earning.

    Raises:
        Conflict: it was stopped while it waited for another evaluation to end.
    """
    worker = Worker(settings, control, load=lambda _: suite, told=told, say=_say)
    async with worker.lease(stop) as mine:
        if not mine:
            raise Conflict("Stopped before the evaluation under way had ended; nothing was played.")
        run = None if fresh else await unfinished(worker.runs, suite, options)
        asked_by = f"shell:{getpass.getuser()}"
        return await worker.play(run or await worker.ask(suite.name, options, asked_by), stop)


async def aside(
    settings: Settings,
    suite: Suite,
    options: RunOptions,
    stop: asyncio.Event,
    *,
    told: Told,
    fresh: bool = False,
) -> RunRecord:
    """Play without an academy: kept in files, and nothing earned.

    Raises:
        BadSuite: it names an operation that is not registered.
        Conflict: another process plays the run that would be continued.
    """
    operations = build_operations(archive_folder=settings.archive_folder)
    suite.needs(operations)
    risks = {name: operations[name].risk for name in suite.operations if name in operations}
    store = KeptRuns(kept_in(settings), suite, risks)
    run = None if fresh else await unfinished(store, suite, options)
    clock = SystemClock()
    run = run or RunRecord(
        id=new_id("evl"),
        suite=suite.name,
        digest=suite.digest,
        options=seeded(options),
        state="queued",
        requested_by=f"shell:{getpass.getuser()}",
        created_at=clock.now(),
    )
    with held(store.folder / "locks", run.id), world_folder() as folder:
        playing = Running(
            suite, run, store, folder=folder, clock=clock, risks=_risks(operations), told=told
        )
        run = await playing.play(stop)
        run = run.model_copy(update={"note": f"{NOTHING_EARNED} {run.note}".strip()})
        await store.save(run)
        return run


async def unfinished(store: RunStore, suite: Suite, options: RunOptions) -> RunRecord | None:
    """The newest run of the same suite and options that was stopped or killed before its end."""
    for run in await store.runs(suite.name):
        same = run.options.model_copy(update={"worlds": options.worlds})
        if options.seed is None:
            same = same.model_copy(update={"seed": None})
        if run.state in UNFINISHED and run.digest == suite.digest and same == options:
            _say(f"Going on with {run.id}, which was stopped before its end.")
            return run.model_copy(update={"options": _resumed(run.options, options)})
    return None


def _resumed(before: RunOptions, now: RunOptions) -> RunOptions:
    return before.model_copy(update={"worlds": now.worlds})


def _risks(operations: dict[str, Operation[Any]]) -> dict[str, Risk]:
    return {name: operation.risk for name, operation in operations.items()}


def _code(run: RunRecord) -> int:
    if run.state == "stopped":
        return STOPPED
    if run.state != "done" or run.progress.failed:
        return FAILED
    return PASSED


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"evals: {message}\n")
    raise typer.Exit(code)

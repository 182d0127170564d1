"""`academy break`: the safe way to break things, contributed to the command line.

    academy break catalog kill|hang|stop|disk [--replica catalog-2]
    academy break catalog heal                  takes back what this command did
    academy break postgres stop|start

Only campus services, and the database of an academy that runs campus. Every break is told to the
audit log before it happens; while the store is down, and in any case, to `logs/breaks.log`.
"""

import asyncio
import contextlib
import json
import pwd
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import geteuid
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from evals.worlds.campus.filling import clear, fill, measure
from graphs.fleet import local_fleet
from graphs.settings import Settings, read_settings
from memory import audit, audit_unsent
from memory.audit_unsent import UnsentRow, UnsentRows
from memory.database import Database
from memory.errors import StoreError
from memory.ids import new_id
from tools.adapters.fleet_file import read_text
from tools.adapters.local import LocalInfrastructure
from tools.adapters.supervisor import Supervisor
from tools.healing.policy import HealingPolicy
from tools.kit.errors import CapabilityError, Conflict, Forbidden, Invalid, NotFound, Unavailable
from tools.kit.infrastructure import ProcessFacts, ReplicaSpec, ServiceSpec

CAMPUS = "evals.worlds.campus."
SERVICE_WAYS = ("kill", "hang", "stop", "disk", "heal")
DATABASE_WAYS = ("stop", "start")
STORE_SECONDS = 5.0
START_SECONDS = 15.0
STOP_SECONDS = 40.0
"""Longer than the supervisor waits before it kills the database."""
POLL_SECONDS = 0.05
EXITS = {"not_found": 4, "forbidden": 5, "conflict": 6, "invalid": 7, "unavailable": 8}
"""The exit codes of `academy`, by kind of error."""
SETTING_INVALID = 19


@dataclass(frozen=True)
class Broken:
    """What was done, for a person and for a program."""

    text: str
    facts: dict[str, Any]


def command(
    service: Annotated[str, typer.Argument(help="A campus service, or `postgres`.")],
    way: Annotated[str, typer.Argument(help="kill, hang, stop, disk, heal; postgres: stop, start")],
    replica: Annotated[
        str | None, typer.Option(help="Which replica (default: the first healthy one).")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="The academy's folder (default: ACADEMY_HOME, else the user's)."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Break a campus service, or stop the database, and watch the academy notice.

    kill: SIGKILL (the supervisor starts it again). hang: SIGSTOP. stop: through the supervisor, so
    that it stays down. disk: fills its data folder with old files. heal: takes these back.

    Exit codes: 0 done, 3 no academy runs, 4 no such service, 5 not something that may be broken,
    6 nothing healthy to break, 7 unknown way, 8 the supervisor didn't answer.
    """
    try:
        settings = Settings(home=home) if home is not None else read_settings()
        done = asyncio.run(break_it(settings, service, way, replica))
    except ValidationError as error:
        _fail(SETTING_INVALID, f"A setting is wrong: {error.errors()[0]['msg']}.", as_json=as_json)
    except CapabilityError as error:
        code = 3 if error.details.get("not_running") else EXITS[error.kind]
        _fail(code, error.message, as_json=as_json)
    except OSError as error:
        _fail(1, f"{error}.", as_json=as_json)
    else:
        if as_json:
            sys.stdout.write(json.dumps({"text": done.text, **done.facts}, default=str) + "\n")
        else:
            Console(highlight=False).print(done.text, soft_wrap=True, markup=False)


async def break_it(settings: Settings, name: str, way: str, replica: str | None = None) -> Broken:
    """Do one break; see the module.

    Raises:
        CapabilityError: it was refused or could not be done; nothing was broken.
    """
    home = settings.paths
    if not home.supervisor_socket.exists():
        raise Unavailable(
            f"No academy runs on {home.path}; start one with `academy up`.", not_running=True
        )
    campus = [
        entry.name
        for entry in read_text(home.fleet_file).service
        if entry.program.startswith(CAMPUS)
    ]
    if not campus:
        raise Forbidden(
            "This academy runs without campus, so there is nothing here that may be broken."
        )
    if name != "postgres" and name not in campus:
        raise Forbidden(
            f"`{name}` may not be broken; what may: {', '.join([*campus, 'postgres'])}."
        )
    ways = DATABASE_WAYS if name == "postgres" else SERVICE_WAYS
    if way not in ways:
        raise Invalid(f"`{way}` is not a way to break {name}; there are {', '.join(ways)}.")
    supervisor = Supervisor(home.supervisor_socket)
    if name == "postgres":
        return await _break_database(settings, supervisor, way)
    infrastructure = local_fleet(home)
    try:
        service = infrastructure.fleet().service(name)
        assert service is not None
        if way == "disk":
            return await _fill(settings, service)
        if way == "heal":
            return await _heal(settings, infrastructure, supervisor, service)
        return await _signal(settings, infrastructure, supervisor, service, way, replica)
    finally:
        await infrastructure.aclose()


async def _signal(
    settings: Settings,
    infrastructure: LocalInfrastructure,
    supervisor: Supervisor,
    service: ServiceSpec,
    way: str,
    replica: str | None,
) -> Broken:
    chosen, facts = await _healthy(infrastructure, service, replica)
    told = await _tell(settings, f"break.{way}", chosen.name, {"pid": facts.pid})
    if way == "stop":
        await asyncio.to_thread(supervisor.stop, chosen.program)
        after = "stopped; it stays down until something starts it"
    elif way == "kill":
        await asyncio.to_thread(supervisor.signal, chosen.program, "KILL")
        after = "killed; the supervisor starts it again"
    else:
        await asyncio.to_thread(supervisor.signal, chosen.program, "STOP")
        after = "frozen; it holds its port and answers nothing"
    return _done(f"{chosen.name} (process {facts.pid}) is {after}.", told, way, chosen.name, facts)


async def _healthy(
    infrastructure: LocalInfrastructure, service: ServiceSpec, wanted: str | None
) -> tuple[ReplicaSpec, ProcessFacts]:
    """The replica to break: *wanted*, or the first that runs and answers."""
    candidates = [spec for spec in service.replicas if wanted in (None, spec.name)]
    if not candidates:
        known = ", ".join(spec.name for spec in service.replicas)
        raise NotFound(f"{service.name} has no replica `{wanted}`; it has {known}.")
    processes = await infrastructure.processes()
    sick: list[str] = []
    for spec in candidates:
        facts = processes[spec.name]
        if facts.status != "running" or facts.stopped_by_signal:
            sick.append(f"{spec.name} is {'frozen' if facts.stopped_by_signal else facts.status}")
            continue
        if service.health_path is not None:
            probe = await infrastructure.probe(spec, service.health_path, timeout=2.0)
            if not probe.ok:
                sick.append(f"{spec.name} answers {probe.status or probe.error}")
                continue
        return spec, facts
    raise Conflict(f"There is no healthy replica to break: {'; '.join(sick)}.")


async def _fill(settings: Settings, service: ServiceSpec) -> Broken:
    policy = HealingPolicy()
    percent = policy.disk_free_percent
    found = await asyncio.to_thread(measure, service, settings.paths.path, free_percent=percent)
    body = {"folder": str(found.folder), "bytes": found.bytes}
    told = await _tell(settings, "break.disk", service.name, body)
    age, stamp = timedelta(days=policy.archive_age_days), f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    filled = await asyncio.to_thread(fill, found, age=age, stamp=stamp)
    after = filled.after
    what = "data limit" if after.limited else "filesystem"
    free = 100 * after.free_bytes / after.total_bytes
    text = (
        f"Wrote {filled.files} old files ({filled.bytes_written / 1024**2:.0f} MiB) to "
        f"{filled.folder}: {free:.1f} % of the {what} of {after.total_bytes / 1024**2:.0f} MiB "
        "is free."
    )
    facts = {
        "service": service.name,
        "way": "disk",
        "folder": str(filled.folder),
        "files": filled.files,
        "bytes": filled.bytes_written,
        "free_percent": round(free, 2),
        "limited": after.limited,
    }
    return Broken(text + told.note, {**facts, "audited": told.audited})


async def _heal(
    settings: Settings,
    infrastructure: LocalInfrastructure,
    supervisor: Supervisor,
    service: ServiceSpec,
) -> Broken:
    told = await _tell(settings, "break.heal", service.name, {})
    processes = await infrastructure.processes()
    woken: list[str] = []
    started: list[str] = []
    for spec in service.replicas:
        facts = processes[spec.name]
        if facts.stopped_by_signal and await asyncio.to_thread(
            supervisor.signal, spec.program, "CONT"
        ):
            woken.append(spec.name)
        elif facts.status in ("stopped", "fatal") and await asyncio.to_thread(
            supervisor.start, spec.program
        ):
            started.append(spec.name)
    removed = await asyncio.to_thread(clear, service)
    parts = [
        f"continued {', '.join(woken)}" if woken else "",
        f"started {', '.join(started)}" if started else "",
        f"removed {removed} files" if removed else "",
    ]
    text = ", ".join(part for part in parts if part) or "there was nothing to take back"
    facts_out = {"continued": woken, "started": started, "removed": removed}
    return Broken(
        f"{service.name}: {text}.{told.note}",
        {"service": service.name, "way": "heal", **facts_out, "audited": told.audited},
    )


async def _break_database(settings: Settings, supervisor: Supervisor, way: str) -> Broken:
    try:
        state = await asyncio.to_thread(supervisor.process, "postgres")
    except NotFound:
        raise Forbidden(
            "The database of this academy is not one it runs itself (ACADEMY_DATABASE_URL), so it "
            "can't be stopped from here."
        ) from None
    running = state.state in ("RUNNING", "STARTING", "BACKOFF")
    if running == (way == "start"):
        raise Conflict(f"PostgreSQL is {state.state.lower()} already.")
    body = {"pid": state.pid}
    if way == "stop":
        told = await _tell(settings, "break.postgres_stop", "postgres", body)
        await asyncio.to_thread(supervisor.stop, "postgres")
        await _stopped(supervisor)
        text = "PostgreSQL is stopped; `academy break postgres start` brings it back."
    else:
        # A program that is still ending can't be started: supervisord would say yes and do nothing.
        await _stopped(supervisor)
        await asyncio.to_thread(supervisor.start, "postgres")
        told = await _tell(settings, "break.postgres_start", "postgres", body, wait=START_SECONDS)
        text = "PostgreSQL is started."
    facts = {"service": "postgres", "way": way, "audited": told.audited}
    return Broken(text + told.note, facts)


async def _stopped(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while (state := await asyncio.to_thread(supervisor.process, "postgres")).state == "STOPPING":
        if time.monotonic() > deadline:
            raise Unavailable(f"PostgreSQL (process {state.pid}) is still ending; try again soon.")
        await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class _Told:
    audited: bool
    note: str
    """Empty, or a sentence that the store could not be told."""


async def _tell(
    settings: Settings, kind: str, subject: str, body: dict[str, Any], *, wait: float = 0.0
) -> _Told:
    """Record a break: in the audit log where the store is up within *wait*, and in a file.

    While the store is down it is kept for the log, which the healer sends when it is back.
    """
    at = datetime.now(UTC)
    actor = f"shell:{pwd.getpwuid(geteuid()).pw_name}"
    row = UnsentRow(new_id("brk"), at, actor, kind, subject, body)
    unsent = UnsentRows(settings.paths.unsent_audit)
    audited = True
    try:
        async with asyncio.timeout(STORE_SECONDS + wait):
            await _append(settings, row, unsent, wait)
    except (StoreError, TimeoutError):
        audited = False
        await asyncio.to_thread(unsent.add, row)
    line = {"at": at, "actor": actor, "kind": kind, "subject": subject, **body, "audited": audited}
    log = settings.paths.logs / "breaks.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, default=str) + "\n")
    note = "" if audited else " The database is down: the audit log gets this when it is back."
    return _Told(audited, note)


async def _append(settings: Settings, row: UnsentRow, unsent: UnsentRows, wait: float) -> None:
    store = Database(settings.control_url, pool_size=1)
    deadline = asyncio.get_running_loop().time() + wait
    try:
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(StoreError):
                await store.ping()
                break
            await asyncio.sleep(0.2)
        await audit_unsent.send(store, unsent, row.happened_at)  # what happened before comes first
        async with store.unit_of_work() as session:
            await audit.append_once(
                session,
                record_id=row.record_id,
                at=row.happened_at,
                actor=row.actor,
                kind=row.kind,
                subject=row.subject,
                body=row.body,
            )
    finally:
        await store.dispose()


def _done(text: str, told: _Told, way: str, replica: str, facts: ProcessFacts) -> Broken:
    out = {"service": replica.rpartition("-")[0], "way": way, "replica": replica, "pid": facts.pid}
    return Broken(text + told.note, {**out, "audited": told.audited})


def _fail(code: int, message: str, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps({"error": message, "code": code}) + "\n")
    else:
        Console(stderr=True, highlight=False).print(
            f"academy: {message}", style="red", markup=False, soft_wrap=True
        )
    raise typer.Exit(code)

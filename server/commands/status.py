"""`academy status`: processes, fleet and model mode; works while PostgreSQL is down."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import psutil
import typer
from rich.console import Console

from graphs.settings import Home
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import ago, show_fields, show_table
from server.exits import Exit, Refusal
from server.processes.hold import Announcement, announcement, holder
from server.processes.programs import EVALUATIONS
from tools.adapters.supervisor import ProgramState, Supervisor
from tools.healing.local_store import read_fleet_view, read_incidents
from tools.kit.errors import CapabilityError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def status(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Show what runs, how the fleet is, and which model speaks.

    Exit codes: 0 all is well, 3 no academy runs, 9 a process or a replica is not well, or an
    incident is open.
    """
    settings = settings_for(home)
    place = settings.paths
    found = announcement(place)
    if found is None:
        starting = " (its launcher is starting or stopping)" if holder(place) else ""
        raise Refusal(
            Exit.NOT_RUNNING,
            f"No academy runs on {place.path}{starting}. Start it with `academy up`, or name"
            " another home with --home or ACADEMY_HOME.",
        )
    processes = _processes(place)
    source, services, incidents, problem = _fleet(place, lambda: Api(settings))
    well = (
        all(
            each["state"] == "running" or (each["name"] == EVALUATIONS and each["state"] != "fatal")
            for each in processes
        )
        and all(each["status"] == "healthy" for each in services)
        and not incidents
        and not problem
    )
    if as_json:
        print_json(
            {
                "well": well,
                "academy": dataclasses.asdict(found) | {"home": str(place.path)},
                "processes": processes,
                "source": source,
                "services": services,
                "open_incidents": incidents,
                "problem": problem,
            }
        )
    else:
        _show(console(), place, found, processes, (source, services, incidents, problem))
    if not well:
        raise typer.Exit(Exit.BROKEN)


def _processes(place: Home) -> list[dict[str, Any]]:
    """Every program as supervisord sees it, with its resident memory; empty without supervisord."""
    try:
        states = Supervisor(place.supervisor_socket).processes()
    except CapabilityError:
        return [_process("supervisord", None)]
    return [_process(name, state) for name, state in sorted(states.items())]


def _process(name: str, state: ProgramState | None) -> dict[str, Any]:
    memory = None
    frozen = False
    if state is not None and state.pid is not None:
        try:
            process = psutil.Process(state.pid)
            memory = process.memory_info().rss
            frozen = process.status() == psutil.STATUS_STOPPED
        except psutil.Error:
            memory = None
    word = state.state.lower() if state else "unreachable"
    return {
        "name": name,
        "state": "frozen" if frozen else word,
        "pid": state.pid if state else None,
        "started_at": datetime.fromtimestamp(state.started, UTC).isoformat()
        if state and state.pid
        else None,
        "memory_bytes": memory,
        "note": state.ending if state and not state.pid else "",
    }


def _fleet(
    place: Home, connect: Any
) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]], str]:
    """Where the view comes from, services, open incidents, and what could not be asked."""
    try:
        api = connect()
        fleet = api.get("/api/fleet", minutes=0)
        listed = api.get("/api/incidents", open=True, limit=50)["incidents"]
        return "database", _services(fleet), [_incident(each) for each in listed], ""
    except Refusal as refusal:
        problem = refusal.message
    view = read_fleet_view(place.healer)
    kept = [each.model_dump(mode="json") for each in read_incidents(place.healer)]
    services = _services(view.model_dump(mode="json")) if view else []
    return "local", services, [_incident(i) for i in kept if i["closed_at"] is None], problem


def _services(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": service["name"],
            "kind": service["kind"],
            "status": service["status"],
            "replicas": {each["name"]: each["status"] for each in service["replicas"]},
            "looked_at": view["looked_at"],
        }
        for service in view["services"]
    ]


def _incident(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("id", "state", "target", "title", "opened_at")}


def _show(
    out: Console,
    place: Home,
    found: Announcement,
    processes: list[dict[str, Any]],
    fleet: tuple[str, list[dict[str, Any]], list[dict[str, Any]], str],
) -> None:
    source, services, incidents, problem = fleet
    mode = "embedded (deterministic, no model key)" if found.model == "embedded" else found.model
    since = ago(datetime.fromisoformat(found.started_at))
    show_fields(
        out,
        [("academy", f"{found.url}, started {since}"), ("home", place.path), ("model", mode)],
    )
    out.print()
    show_table(
        out,
        ["process", "state", "pid", "memory", ""],
        [
            (
                each["name"],
                each["state"],
                each["pid"],
                f"{each['memory_bytes'] / 1e6:.0f} MB" if each["memory_bytes"] else "",
                each["note"],
            )
            for each in processes
        ],
    )
    total = sum(each["memory_bytes"] or 0 for each in processes)
    out.print(f"{len(processes)} processes, {total / 1e6:.0f} MB resident", style="dim")
    out.print()
    if problem:
        out.print(f"{problem}", style="yellow", markup=False, soft_wrap=True)
    if source == "local":
        out.print("The fleet below is from the healer's own files.", style="yellow")
    show_table(
        out,
        ["service", "status", "replicas"],
        [
            (
                each["name"],
                each["status"],
                ", ".join(f"{name} {state}" for name, state in each["replicas"].items()),
            )
            for each in services
        ],
    )
    out.print()
    if not incidents:
        out.print("No open incidents.")
    for each in incidents:
        out.print(f"{each['id']}  {each['state']}  {each['title']}", markup=False, soft_wrap=True)

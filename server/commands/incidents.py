"""`academy incidents`: what went wrong, why, and what was done about it."""

from typing import Annotated, Any

import typer

from graphs.settings import Settings
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_fields, show_table, when
from server.exits import Exit, Refusal
from tools.healing.local_store import read_incidents

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="List and show incidents.")

LimitOption = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Only those that are not closed.")]
LOCAL = "the healer's own files, because the database can't be asked now"


@app.callback(invoke_without_command=True)
def incidents(
    context: typer.Context,
    home: HomeOption = None,
    limit: LimitOption = 20,
    *,
    open_only: OpenOption = False,
    as_json: JsonOption = False,
) -> None:
    """List incidents, open ones first; `show ID` tells one of them.

    Exit codes: 0 done, 3 no academy runs, 4 no such incident, 7 wrong input. While the database is
    down, the healer's own files are shown instead, and that is said.
    """
    if context.invoked_subcommand is None:
        _list(settings_for(home), limit, open_only=open_only, as_json=as_json)


@app.command("list")
def list_(
    home: HomeOption = None,
    limit: LimitOption = 20,
    *,
    open_only: OpenOption = False,
    as_json: JsonOption = False,
) -> None:
    """List incidents, open ones first."""
    _list(settings_for(home), limit, open_only=open_only, as_json=as_json)


@app.command()
def show(
    incident_id: Annotated[str, typer.Argument(metavar="ID", help="Such as inc-7k2m9qh4xw3c.")],
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Tell one incident: cause, evidence, timeline, actions."""
    settings = settings_for(home)
    try:
        found, local = Api(settings).get(f"/api/incidents/{incident_id}"), False
    except Refusal as refusal:
        if refusal.code is not Exit.UNAVAILABLE:
            raise
        kept = [each for each in _kept(settings) if each["id"] == incident_id]
        if not kept:
            raise Refusal(
                Exit.NOT_FOUND,
                f"No incident {incident_id} is in {LOCAL}; older ones are not there.",
            ) from None
        found, local = kept[0], True
    if as_json:
        print_json({"source": "local" if local else "database", "incident": found})
        return
    out = console()
    if local:
        out.print(f"From {LOCAL}.", style="yellow")
    out.print(found["title"], style="bold", markup=False, soft_wrap=True)
    show_fields(
        out,
        [
            ("id", found["id"]),
            ("state", found["state"]),
            ("target", found["target"]),
            ("opened", when(found["opened_at"])),
            ("closed", when(found["closed_at"])),
            ("cause", found["cause"]),
            ("because", found["explanation"]),
            ("ended", found["resolution"]),
            ("actions", ", ".join(found["action_ids"])),
        ],
    )
    out.print()
    show_table(
        out,
        ["when", "what", ""],
        [(when(line["at"]), line["kind"], line["text"]) for line in found["timeline"]],
    )


def _list(settings: Settings, limit: int, *, open_only: bool, as_json: bool) -> None:
    try:
        found = Api(settings).get("/api/incidents", limit=limit, open=open_only or None)
        listed, local = found["incidents"], False
    except Refusal as refusal:
        if refusal.code is not Exit.UNAVAILABLE:
            raise
        kept = [each for each in _kept(settings) if not (open_only and each["closed_at"])]
        listed, local = kept[:limit], True
    if as_json:
        print_json({"source": "local" if local else "database", "incidents": listed})
        return
    out = console()
    if local:
        out.print(f"From {LOCAL}.", style="yellow")
    if not listed:
        out.print("No incidents." if not open_only else "No open incidents.")
        return
    show_table(
        out,
        ["id", "state", "target", "opened", "title"],
        [(i["id"], i["state"], i["target"], when(i["opened_at"]), i["title"]) for i in listed],
    )


def _kept(settings: Settings) -> list[dict[str, Any]]:
    """What the healer keeps in its own files, open ones first, newest first."""
    kept = [each.model_dump(mode="json") for each in read_incidents(settings.paths.healer)]
    kept.sort(key=lambda each: each["opened_at"], reverse=True)
    return sorted(kept, key=lambda each: each["closed_at"] is not None)

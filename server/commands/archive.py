"""`academy archive`: bring archived data back, byte for byte."""

from typing import Annotated

import typer

from server.commands.api import Api
from server.commands.approvals import YesOption, answer
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_table, when

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Bring archived data back.")

OPERATION = "healing.archive_old_data"


@app.callback(invoke_without_command=True)
def archive(
    context: typer.Context, home: HomeOption = None, *, as_json: JsonOption = False
) -> None:
    """List what was archived; `restore ACTION_ID` brings it back.

    Exit codes: 0 done, 3 no academy runs, 4 no such action, 6 it can't be undone (now), 8 the
    database is down.
    """
    if context.invoked_subcommand is not None:
        return
    actions = Api(settings_for(home)).get("/api/actions", limit=200)["actions"]
    found = [each for each in actions if each["operation"] == OPERATION]
    if as_json:
        print_json({"actions": found})
        return
    out = console()
    if not found:
        out.print("Nothing was archived.")
        return
    show_table(
        out,
        ["action", "state", "when", "what"],
        [(a["id"], a["state"], when(a["created_at"]), a["plan"]["summary"]) for a in found],
    )


@app.command()
def restore(
    action_id: Annotated[
        str, typer.Argument(metavar="ACTION_ID", help="Such as act-7k2m9qh4xw3c.")
    ],
    home: HomeOption = None,
    *,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask for the undo of an archiving, show its plan, and approve it."""
    api = Api(settings_for(home))
    asked = api.post(f"/api/actions/{action_id}/undo")
    answer(api, asked["id"], "approve", out=console(), yes=yes, as_json=as_json)

"""`academy up`: run the academy in the foreground."""

from typing import Annotated

import typer

from server.commands.options import HomeOption, JsonOption, console, settings_for
from server.launcher import launch
from server.processes.display import Display, JsonDisplay

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def up(
    home: HomeOption = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the pages (default: ACADEMY_PORT, else 8400).")
    ] = None,
    *,
    bare: Annotated[bool, typer.Option("--bare", help="Without the sample fleet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the academy in the foreground until Ctrl-C; prints where it is and how to sign in.

    With --json each line is one JSON object: phase, serving, alert or note.

    Exit codes: 0 stopped as asked, 10 it runs already, 11 the home can't be used, 12 the port is
    taken, 13 the disk is nearly full, 14 fleet.toml is wrong, 15 the database can't be reached, 16
    the database is newer than this release, 17 a program did not start, 19 a setting is wrong.
    """
    display = JsonDisplay(console()) if as_json else Display(console())
    launch(settings_for(home, port=port), display, bare=bare)

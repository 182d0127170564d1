"""`academy signin`: a new one-time sign-in link."""

from typing import Annotated

import typer

from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import when

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def signin(
    home: HomeOption = None,
    minutes: Annotated[
        int, typer.Option(min=1, max=1440, help="How long the link is good for.")
    ] = 15,
    person: Annotated[
        str | None, typer.Option(help="Id of the person it is for (default: the operator).")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print a link that signs a person in once.

    Exit codes: 0 done, 3 no academy runs, 4 no such person, 5 not allowed, 8 the database is down.
    """
    link = Api(settings_for(home)).post(
        "/api/signin-links", {"minutes": minutes, "person_id": person}
    )
    if as_json:
        print_json(link)
        return
    out = console()
    out.print(link["url"], soft_wrap=True, markup=False)
    out.print(f"Signs in once, until {when(link['expires_at'])}.")

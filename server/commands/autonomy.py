"""`academy autonomy`: what may run alone, and what is approved in advance."""

import typer

from server.commands import standing

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What may run alone, and what is approved in advance.",
)
app.add_typer(standing.app, name="standing")


@app.callback()
def autonomy() -> None:
    """What may run alone, and what is approved in advance."""

"""`academy autonomy`: what may run alone and why, freezes, and what is approved in advance."""

from typing import Annotated

import typer

from server.commands import standing
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_fields, show_table

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What may run alone and why, freezes, and what is approved in advance.",
)
app.add_typer(standing.app, name="standing")

OperationArgument = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Such as healing.restart_replica.")
]
FrozenArgument = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Such as healing.restart_replica; `*` for all.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; everybody who is asked reads it.")
]


@app.command("list")
def list_(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """List the operations with their level and why."""
    found = Api(settings_for(home)).get("/api/autonomy")
    if as_json:
        print_json(found)
        return
    show_table(
        console(),
        ["operation", "level", "risk", "trials", "rate above", "why"],
        [
            (
                o["name"],
                o["level"],
                o["risk"],
                f"{o['passed']}/{o['trials']}",
                f"{o['bound']:.3f}" if o["bound"] is not None else "-",
                o["reason"],
            )
            for o in found["operations"]
        ],
    )


@app.command()
def why(
    operation: OperationArgument, home: HomeOption = None, *, as_json: JsonOption = False
) -> None:
    """Show what an operation's level rests on, and what would change it."""
    found = Api(settings_for(home)).get(f"/api/autonomy/{operation}")
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(f"{found['title']}: {found['reason']}.", markup=False, soft_wrap=True)
    out.print(f"What would change it: {found['change']}", markup=False, soft_wrap=True)
    show_fields(
        out,
        [
            ("level", found["level"]),
            ("risk", found["risk"]),
            ("trials", f"{found['passed']} of {found['trials']} distinct worlds passed"),
            ("fingerprint", f"{found['fingerprint']} ({found['fingerprints_tried']} tried)"),
            ("changed", ", ".join(found["changed"]) or "nothing"),
            ("suite", found["suite"] or "none"),
            ("live record", ", ".join(f"{n} {state}" for state, n in found["live"].items()) or "-"),
        ],
    )
    if found["cases"]:
        show_table(
            out,
            ["case", "passed", "floor"],
            [(c["case"], f"{c['passed']}/{c['of']}", f"{c['floor']:.0%}") for c in found["cases"]],
        )
    for line in (*found["withdrawals"], *found["freezes"]):
        out.print(line, markup=False, soft_wrap=True)


@app.command()
def freeze(
    operation: FrozenArgument,
    home: HomeOption = None,
    *,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Order that an operation always asks: at once, everywhere, until it is thawed."""
    Api(settings_for(home)).post(f"/api/autonomy/{operation}/freeze", {"reason": reason})
    _said(operation, "frozen", as_json=as_json)


@app.command()
def thaw(
    operation: FrozenArgument, home: HomeOption = None, *, as_json: JsonOption = False
) -> None:
    """Lift a freeze; what it may do then still depends on evidence."""
    Api(settings_for(home)).post(f"/api/autonomy/{operation}/thaw")
    _said(operation, "thawed", as_json=as_json)


def _said(operation: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"operation": operation, "state": state})
    else:
        console().print(f"{operation} is {state}.", markup=False)

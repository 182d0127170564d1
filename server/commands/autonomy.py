"""`academy autonomy`: what may run alone and why, freezes, and what is approved in advance."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from graphs.settings import Settings
from server.commands import standing
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_fields, show_table
from server.exits import Exit, Refusal
from tools.autonomy import freeze_markers
from tools.autonomy.freezes import MOST_REASON
from tools.autonomy.policy import CHANGE_FREEZE
from tools.autonomy.standing_lock import alone
from tools.autonomy.standing_schemas import FreezeMarker
from tools.autonomy.standing_seal import home_seal
from tools.catalogue import build_operations

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What may run alone and why, freezes, and what is approved in advance.",
)
LOCAL = "operator on this machine"
"""Who may write the home's files, where nobody can be asked who they are."""
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
    settings = settings_for(home)
    try:
        Api(settings).post(f"/api/autonomy/{operation}/freeze", {"reason": reason})
    except Refusal as refusal:
        if refusal.code not in (Exit.NOT_RUNNING, Exit.UNAVAILABLE):
            raise
        _freeze_here(settings, operation, reason, as_json=as_json)
        return
    _said(operation, "frozen", as_json=as_json)


@app.command()
def thaw(
    operation: FrozenArgument, home: HomeOption = None, *, as_json: JsonOption = False
) -> None:
    """Lift a freeze; what it may do then still depends on evidence."""
    try:
        Api(settings_for(home)).post(f"/api/autonomy/{operation}/thaw")
    except Refusal as refusal:
        raise Refusal(refusal.code, f"Nothing was thawed. {refusal.message}") from None
    _said(operation, "thawed", as_json=as_json)


def _freeze_here(settings: Settings, operation: str, reason: str, *, as_json: bool) -> None:
    """Freeze on this machine, as whoever may write the home's files: nobody else can be asked."""
    if not (settings.paths.keys / "standing.key").exists():
        raise Refusal(Exit.NOT_RUNNING, f"{settings.paths.path} is no academy's home.")
    known = build_operations(archive_folder=settings.paths.archive)
    if operation != CHANGE_FREEZE and operation not in known:
        named = ", ".join([*sorted(known), CHANGE_FREEZE])
        raise Refusal(
            Exit.NOT_FOUND, f"There is no operation {operation}; what may be frozen: {named}."
        )
    if not reason.strip():
        raise Refusal(Exit.INVALID, "Say why it is frozen; everybody who is asked will read it.")
    marker = FreezeMarker(
        operation=operation,
        reason=reason.strip()[:MOST_REASON],
        person_id=LOCAL,
        actor=f"operator:{getpass.getuser()}",
        at=datetime.now(UTC),
    )
    seal = home_seal(settings.paths.standing)
    with alone(settings.paths.standing):
        fresh, removed = freeze_markers.place(settings.paths.standing, marker, seal)
    if as_json:
        done = {"operation": operation, "state": "frozen here", "removed": removed, "new": fresh}
        print_json(done)
        return
    console().print(
        f"The database or the academy is away. {operation} is frozen on this machine:"
        f" {removed} standing permits are removed, and the healer does nothing of it. When the"
        " database answers, it becomes a freeze everywhere, in the audit log too; thaw it then.",
        markup=False,
        soft_wrap=True,
    )


def _said(operation: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"operation": operation, "state": state})
    else:
        console().print(f"{operation} is {state}.", markup=False)

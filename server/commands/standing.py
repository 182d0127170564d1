"""`academy autonomy standing`: approvals in advance, for when the database is what broke.

All but `stop` ask the running academy; `stop` works on the home's own files, so that a person can
end what nobody can revoke while the database is down.
"""

from typing import Annotated

import typer

from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_table, when
from server.exits import Exit, Refusal
from tools.autonomy.standing_folder import take_back

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, give and revoke approvals in advance; stop what runs under them.",
)

OperationArgument = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Such as healing.restart_replica.")
]
TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", help="Such as catalog/catalog-1.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Such as sta-7k2m9qh4xw3c.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=30, help="How long it holds.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; everybody who looks reads it.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask; it is meant.")]
AllOption = Annotated[bool, typer.Option("--all", help="Ended and revoked ones too.")]


@app.command("list")
def list_(
    home: HomeOption = None, *, every: AllOption = False, as_json: JsonOption = False
) -> None:
    """List what is approved in advance."""
    found = Api(settings_for(home)).get("/api/standing-approvals")["standing_approvals"]
    shown = [a for a in found if every or a["state"] in ("active", "frozen")]
    if as_json:
        print_json({"standing_approvals": shown})
        return
    out = console()
    if not shown:
        out.print("Nothing is approved in advance.")
        return
    show_table(
        out,
        ["id", "state", "operation", "target", "until", "by", "why"],
        [
            (
                a["id"],
                a["state"],
                a["operation"],
                a["target"],
                when(a["expires_at"]),
                a["given_by"],
                a["reason"],
            )
            for a in shown
        ],
    )


@app.command()
def give(
    operation: OperationArgument,
    target: TargetArgument,
    home: HomeOption = None,
    *,
    days: DaysOption = 7,
    reason: ReasonOption,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Approve an operation on a target in advance; it counts only while the database is away."""
    api = Api(settings_for(home))
    if not yes and not typer.confirm(
        f"For {days} days, let {operation} run on {target} without asking whenever the database"
        " is down?",
        err=True,
    ):
        raise Refusal(Exit.CONFLICT, "Nothing was approved.")
    given = api.post(
        "/api/standing-approvals",
        {"operation": operation, "target": target, "days": days, "reason": reason},
    )
    if as_json:
        print_json(given)
    else:
        console().print(
            f"{given['id']} holds until {when(given['expires_at'])}.", markup=False, soft_wrap=True
        )


@app.command()
def revoke(
    approval_id: IdArgument, home: HomeOption = None, *, as_json: JsonOption = False
) -> None:
    """Take an approval back, and its permits with it, at once."""
    revoked = Api(settings_for(home)).post(f"/api/standing-approvals/{approval_id}/revoke")
    if as_json:
        print_json(revoked)
    else:
        console().print(f"{approval_id} is revoked.", markup=False, soft_wrap=True)


@app.command()
def stop(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Remove every standing permit now, database or not; those still approved come back with it."""
    removed = take_back(settings_for(home).paths.standing, operation="*")
    if as_json:
        print_json({"removed": removed})
    else:
        console().print(
            f"{removed} standing permits are removed. While the database is down nothing runs "
            "without asking; when it answers, what is still approved is permitted again.",
            soft_wrap=True,
        )

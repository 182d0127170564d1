"""`academy approvals`: what waits for a person, with the exact change, and the answer to it."""

from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from graphs.settings import Settings
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_fields, show_table, when
from server.exits import Exit, Refusal
from tools.kit.plain import one_line

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, approve and deny questions; release stuck actions.",
)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Such as apr-7k2m9qh4xw3c.")]
AllOption = Annotated[bool, typer.Option("--all", help="Decided ones too.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask; the plan is approved as is.")]
ActionArgument = Annotated[str, typer.Argument(metavar="ACTION", help="Such as act-7k2m9qh4xw3c.")]
FoundOption = Annotated[
    Literal["done", "not-done"], typer.Option("--found", help="Whether the effect happened.")
]
NoteOption = Annotated[str, typer.Option("--note", help="What else you saw.")]
Decision = Literal["approve", "deny"]


@app.callback(invoke_without_command=True)
def approvals(
    context: typer.Context,
    home: HomeOption = None,
    *,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a person; `show`, `approve` and `deny` take an id, `release` an action's.

    Exit codes: 0 done, 3 no academy runs, 4 no such question, 5 not allowed, 6 it was decided,
    expired or changed meanwhile, 8 the database is down.
    """
    if context.invoked_subcommand is None:
        _list(settings_for(home), every=every, as_json=as_json)


@app.command("list")
def list_(
    home: HomeOption = None, *, every: AllOption = False, as_json: JsonOption = False
) -> None:
    """List what waits for a person."""
    _list(settings_for(home), every=every, as_json=as_json)


@app.command()
def show(approval_id: IdArgument, home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Show what would be done, why, and until when it can be answered."""
    found = Api(settings_for(home)).get(f"/api/approvals/{approval_id}")
    if as_json:
        print_json(found)
    else:
        show_approval(console(), found)


@app.command()
def approve(
    approval_id: IdArgument,
    home: HomeOption = None,
    *,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Approve exactly the plan that is shown; it is carried out at once."""
    answer(Api(settings_for(home)), approval_id, "approve", out=console(), yes=yes, as_json=as_json)


@app.command()
def deny(approval_id: IdArgument, home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Deny it; nothing happens."""
    answer(Api(settings_for(home)), approval_id, "deny", out=console(), yes=True, as_json=as_json)


@app.command()
def release(
    action_id: ActionArgument,
    home: HomeOption = None,
    *,
    found: FoundOption,
    note: NoteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close a stuck action after looking at its target, which others may then act upon again."""
    released = Api(settings_for(home)).post(
        f"/api/actions/{action_id}/release", {"found": found, "note": note}
    )
    if as_json:
        print_json(released)
    else:
        console().print(
            f"{action_id} is {released['state']}; {released['target']} is free again.",
            markup=False,
            soft_wrap=True,
        )


def answer(
    api: Api, approval_id: str, decision: Decision, *, out: Console, yes: bool, as_json: bool
) -> None:
    """Show a question, ask whether it is meant unless *yes*, and send the answer to that digest.

    Raises:
        Refusal: the person says no after all, or the academy doesn't accept the answer.
    """
    found = api.get(f"/api/approvals/{approval_id}")
    if found["state"] != "pending":
        raise Refusal(
            Exit.CONFLICT,
            f"{approval_id} is {found['state']}"
            + (f" (by {found['decided_by']})" if found["decided_by"] else "")
            + "; only a pending question can be answered.",
        )
    if not as_json:
        show_approval(out, found)
    if not yes and not typer.confirm(f"{decision.capitalize()} exactly this?", err=True):
        raise Refusal(Exit.CONFLICT, "Nothing was decided.")
    decided = api.post(
        f"/api/approvals/{approval_id}/decision",
        {"decision": decision, "digest": found["digest"]},
    )
    if as_json:
        print_json(decided)
    else:
        out.print(f"{decided['state'].capitalize()}.", style="bold")


def show_approval(out: Console, found: dict[str, Any]) -> None:
    """A question with the plan and the gate's reasons of each of its actions."""
    out.print(found["title"], style="bold", markup=False, soft_wrap=True)
    show_fields(
        out,
        [
            ("id", found["id"]),
            ("state", found["state"]),
            ("why asked", found["reason"]),
            ("asked", when(found["created_at"])),
            ("until", when(found["expires_at"])),
            ("decided by", found["decided_by"]),
            ("incident", found["incident_id"]),
            ("digest", found["digest"]),
        ],
    )
    for action in found["actions"]:
        out.print()
        out.print(
            f"{action['plan']['summary']}   [{action['risk']} risk, "
            f"{action['reversibility'].replace('_', ' ')}, {action['state']}]",
            markup=False,
            soft_wrap=True,
        )
        out.print(f"  {action['operation']} on {action['target']}", markup=False, soft_wrap=True)
        for line in map(one_line, action["plan"]["diff"]):
            style = {"-": "red", "+": "green"}.get(line[:1], "")
            out.print(Text(f"  {line}", style=style), soft_wrap=True)


def _list(settings: Settings, *, every: bool, as_json: bool) -> None:
    found = Api(settings).get("/api/approvals", state=None if every else "pending")["approvals"]
    if as_json:
        print_json({"approvals": found})
        return
    out = console()
    if not found:
        out.print("No questions." if every else "Nothing waits for a person.")
        return
    show_table(
        out,
        ["id", "state", "until", "what"],
        [(a["id"], a["state"], when(a["expires_at"]), a["title"]) for a in found],
    )

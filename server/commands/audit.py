"""`academy audit`: the audit log, and whether anybody changed it."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from graphs.settings import Settings
from memory import audit as chain
from memory.database import Database
from memory.errors import StoreError, StoreUnavailable
from server.commands.api import Api
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_table, when
from server.exits import Exit, Refusal

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="List and verify the audit log."
)

LimitOption = Annotated[int, typer.Option(min=1, max=500, help="How many rows at most.")]
KindOption = Annotated[
    str | None, typer.Option(help="Only kinds that begin so, such as `approval.`.")
]


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    home: HomeOption = None,
    limit: LimitOption = 30,
    kind: KindOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the newest rows; `verify` checks that nobody changed any.

    Exit codes: 0 done, 3 no academy runs, 8 the database is down.
    """
    if context.invoked_subcommand is None:
        _list(settings_for(home), limit, kind, as_json=as_json)


@app.command("list")
def list_(
    home: HomeOption = None,
    limit: LimitOption = 30,
    kind: KindOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the newest rows."""
    _list(settings_for(home), limit, kind, as_json=as_json)


@app.command()
def verify(
    home: HomeOption = None,
    heads: Annotated[
        Path | None, typer.Option(help="File of signed heads (default: the home's own).")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Public key (default: keys/audit.pub of the home).")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check every row and every signed head, straight in the database.

    Exit codes: 0 intact, 8 the database is down, 9 broken: the message names the first broken row,
    the cut tail, or a head signed with another key.
    """
    report = _verify(settings_for(home), heads, key)
    if as_json:
        print_json(dataclasses.asdict(report))
    elif report.ok:
        out = console()
        out.print(f"Intact: {report.rows} rows, {report.heads} signed heads.")
        if report.note:
            out.print(report.note, style="yellow", markup=False, soft_wrap=True)
    else:
        raise Refusal(Exit.BROKEN, f"The audit log is broken. {report.problem}")
    if not report.ok:
        raise typer.Exit(Exit.BROKEN)


def _verify(settings: Settings, heads: Path | None, key: Path | None) -> chain.ChainReport:
    place = settings.paths
    public = key or place.keys / "audit.pub"
    if heads is not None and not heads.is_file():
        raise Refusal(Exit.NOT_FOUND, f"There is no file of signed heads at {heads}.")

    async def check() -> chain.ChainReport:
        database = Database(settings.control_url, pool_size=1)
        file = heads or place.audit / f"{database.name}.heads.jsonl"
        try:
            async with database.unit_of_work() as session:
                return await chain.verify(session, file, public.read_bytes())
        finally:
            await database.dispose()

    try:
        return asyncio.run(check())
    except StoreUnavailable as error:
        if settings.database_url is None:
            raise Refusal(
                Exit.UNAVAILABLE,
                "The audit log is in the academy's database, which doesn't answer; start it with "
                f"`academy up --home {place.path}` and verify then.",
            ) from None
        raise Refusal(
            Exit.UNAVAILABLE, f"{error} The log can only be verified while the database runs."
        ) from None
    except StoreError as error:
        raise Refusal(Exit.DATABASE_UNREACHABLE, str(error)) from None
    except OSError as error:
        raise Refusal(
            Exit.NOT_FOUND, f"{error.filename} can't be read: {error.strerror}."
        ) from None
    except ValueError as error:
        raise Refusal(Exit.INVALID, f"{public} is no Ed25519 public key: {error}.") from None


def _list(settings: Settings, limit: int, kind: str | None, *, as_json: bool) -> None:
    found: dict[str, Any] = Api(settings).get("/api/audit", limit=limit, kind=kind)
    if as_json:
        print_json(found)
        return
    out = console()
    if not found["entries"]:
        out.print("No rows." if kind is None else f"No rows whose kind begins with {kind}.")
        return
    show_table(
        out,
        ["#", "when", "who", "what", "about"],
        [(e["seq"], when(e["at"]), e["actor"], e["kind"], e["subject"]) for e in found["entries"]],
    )

"""`academy db`: where the databases' schemas stand, and bringing them up to date."""

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from memory.errors import SchemaMismatch, StoreError, StoreUnavailable
from memory.upgrade import DatabaseStatus
from memory.upgrade import status as read_status
from memory.upgrade import upgrade as bring_up
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.commands.tables import show_table
from server.exits import Exit, Refusal

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show and upgrade the databases' schemas.",
)

T = TypeVar("T")


@app.command()
def status(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Show each database's schema revision and the range this release runs on.

    Exit codes: 0 all fit, 8 the server can't be reached, 9 one doesn't fit, 15 the URL is wrong.
    """
    settings = settings_for(home)
    found: list[DatabaseStatus] = _run(lambda: read_status(settings.control_url))
    if as_json:
        print_json({"databases": [dataclasses.asdict(each) for each in found]})
    else:
        show_table(
            console(),
            ["database", "revision", "newest", "runs on", "", ""],
            [
                (
                    each.name,
                    "none" if each.revision is None else each.revision,
                    each.head,
                    f"{each.lowest} to {each.highest}",
                    "fits" if each.ok else "DOES NOT FIT",
                    each.note,
                )
                for each in found
            ],
        )
    if not all(each.ok for each in found):
        raise typer.Exit(Exit.BROKEN)


@app.command()
def upgrade(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Bring every database to the newest revision; safe to repeat, `academy up` does it too.

    Exit codes: 0 done, 8 the server can't be reached, 15 the URL is wrong, 16 a database is newer.
    """
    settings = settings_for(home)
    changes: list[str] = _run(lambda: bring_up(settings.control_url))
    if as_json:
        print_json({"changes": changes})
    else:
        console().print("\n".join(changes) or "Everything is up to date.", markup=False)


def _run(work: Any) -> Any:
    """Run what *work* answers, and turn what a store says into exit codes."""

    async def run() -> Any:
        job: Coroutine[Any, Any, Any] = work()
        return await job

    try:
        return asyncio.run(run())
    except StoreUnavailable as error:
        raise Refusal(
            Exit.UNAVAILABLE, f"{error} Is the academy running (`academy status`)?"
        ) from None
    except SchemaMismatch as error:
        raise Refusal(Exit.DATABASE_NEWER, str(error)) from None
    except StoreError as error:
        raise Refusal(Exit.DATABASE_UNREACHABLE, str(error)) from None

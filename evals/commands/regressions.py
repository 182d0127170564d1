"""`regressions`: what once failed, and whether it has passed 20 distinct worlds of 20 since."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evals.places import open_place
from evals.regressions import (
    BadLedger,
    Progress,
    Regression,
    problems,
    progress_of,
    read_ledger,
    untold,
)
from evals.suites.base import load_suite, suite_names
from graphs.settings import Settings, read_settings


def command(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the ledger and the tags.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="The academy's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show what once failed and where it stands; play the missing worlds with `run --only CASE`.

    Worlds of this home count. A case that was never played here is not wrong for that; one that
    failed here since it was mended is, until it has passed 20 in a row again.

    Exit codes: 0 the ledger and its tags are true, 1 they are not.
    """
    try:
        entries = read_ledger()
    except BadLedger as error:
        sys.stderr.write(f"evals: {error}\n")
        raise typer.Exit(1) from None
    wrong = problems(entries, load_suite) + untold(map(load_suite, suite_names()), entries)
    found: list[Progress] = []
    if not check and not wrong:
        settings = Settings(home=home) if home is not None else read_settings()
        found = asyncio.run(_read(settings, entries))
        wrong = [
            f"{one.entry.suite}/{one.entry.case} carries the tag: {one.text}."
            for one in found
            if one.wrongly_tagged
        ]
    if as_json:
        listed = [
            {**one.entry.model_dump(mode="json"), "passed": one.passed, "proven": one.proven}
            for one in found
        ]
        sys.stdout.write(json.dumps({"regressions": listed, "wrong": wrong}, indent=2) + "\n")
    else:
        _show(found, wrong, entries=len(entries))
    raise typer.Exit(1 if wrong else 0)


async def _read(settings: Settings, entries: list[Regression]) -> list[Progress]:
    async with open_place(settings) as place:
        return await progress_of(place.store, entries, load_suite)


def _show(found: list[Progress], wrong: list[str], *, entries: int) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for title in ("case", "failed", "in", "was", "stands"):
        table.add_column(title, overflow="fold", no_wrap=title == "case")
    for one in found:
        entry = one.entry
        name = f"{entry.suite}/{entry.case}"
        table.add_row(name, f"{entry.failed}", entry.where, entry.was, one.text)
    if found:
        console.print(table)
    for text in wrong:
        console.print(f"[red]wrong[/] {text}", soft_wrap=True)
    if not wrong:
        console.print(f"{entries} regressions; the ledger and its tags are true.")

"""`compare A B`: what changed from one run to another."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evals.kept_runs import UnreadableRun
from evals.places import open_place
from evals.report import NoSuchRun, Report, build_report, find_run
from graphs.settings import Settings, read_settings

UNKNOWN = 4


def command(
    first: Annotated[str, typer.Argument(metavar="A", help="The earlier run's id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The later run's id, or a suite.")],
    *,
    home: Annotated[Path | None, typer.Option(help="The academy's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show case by case how run B did against run A.

    Exit codes: 0 no case is worse, 1 one is, 4 no such run, or one that can't be read.
    """
    settings = Settings(home=home) if home is not None else read_settings()
    try:
        report = asyncio.run(_read(settings, first, second))
    except (NoSuchRun, UnreadableRun) as error:
        sys.stderr.write(f"evals: {error}\n")
        raise typer.Exit(UNKNOWN) from None
    found = compared(report)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(found)
    raise typer.Exit(1 if any(case["change"] == "worse" for case in found["cases"]) else 0)


async def _read(settings: Settings, first: str, second: str) -> Report:
    async with open_place(settings) as place:
        before = await find_run(place.store, first)
        now = await find_run(place.store, second)
        if before.suite != now.suite:
            raise NoSuchRun(f"{before.id} is of {before.suite} and {now.id} of {now.suite}.")
        return await build_report(place.store, now, before)


def compared(report: Report) -> dict[str, Any]:
    """The report's run against the one before it, case by case."""
    assert report.before is not None
    return {
        "suite": report.run.suite,
        "before": report.before.id,
        "now": report.run.id,
        "same_suite": report.before.digest == report.run.digest,
        "cases": [
            {
                "case": row.case,
                "change": row.change,
                "before": row.before.as_json() if row.before else None,
                "now": row.rate.as_json(),
            }
            for row in report.rows
        ],
    }


def _show(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"{found['suite']}: {found['before']} and then {found['now']}", markup=False)
    if not found["same_suite"]:
        console.print("The suite itself changed in between.")
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for title in ("case", "before", "now", "95 % interval", ""):
        table.add_column(title, overflow="fold")
    for case in found["cases"]:
        before, now = case["before"], case["now"]
        low, high = now["interval"]
        table.add_row(
            case["case"],
            f"{before['passed']} of {before['of']}" if before else "-",
            f"{now['passed']} of {now['of']}",
            f"{low:.2f} to {high:.2f}",
            case["change"],
        )
    console.print(table)

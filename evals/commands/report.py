"""`report [RUN]`: what a run found, on the terminal, as JSON, or as one HTML page."""

import asyncio
import json
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from evals.kept_runs import UnreadableRun
from evals.places import kept_in, open_place
from evals.report import NoSuchRun, Report, build_report, find_run
from evals.report_page import render
from evals.report_terminal import show_report
from graphs.settings import Settings, read_settings

UNKNOWN = 4


def command(
    run: Annotated[
        str | None, typer.Argument(help="A run's id or a suite's name (default: the newest run).")
    ] = None,
    *,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Write the page and open it in a browser.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="The academy's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show a run: rates, cases, cost, time, controls, changes, and every failure.

    Exit codes: 0 shown, 4 no such run, or one that can't be read.
    """
    settings = Settings(home=home) if home is not None else read_settings()
    try:
        report = asyncio.run(read(settings, run))
    except (NoSuchRun, UnreadableRun) as error:
        sys.stderr.write(f"evals: {error}\n")
        raise typer.Exit(UNKNOWN) from None
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    if html is not None or opened:
        page = html or _page(settings, report)
        page.write_text(render(report), encoding="utf-8")
        sys.stderr.write(f"Written: {page}\n")
        if opened and not webbrowser.open(page.resolve().as_uri()):
            sys.stderr.write("No browser could be opened here; open the file.\n")
    elif not as_json:
        show_report(report)


async def read(settings: Settings, wanted: str | None) -> Report:
    """The report on the run called *wanted*, from wherever runs are kept now.

    Raises:
        NoSuchRun: there is none.
    """
    async with open_place(settings) as place:
        return await build_report(place.store, await find_run(place.store, wanted))


def _page(settings: Settings, report: Report) -> Path:
    folder = kept_in(settings)
    folder.mkdir(exist_ok=True)
    return folder / f"{report.run.id}.html"

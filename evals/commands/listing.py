"""`list`: every suite, benchmark and attack there is."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evals.measured import names
from evals.suites.base import BadSuite, load_suite, suite_names

NOTHING, INJECTION = "nothing", "injection"
USAGE = 2


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the suites with their operations and cases, the benchmarks and the attacks.

    Exit codes: 0 listed, 2 a suite's files can't be read.
    """
    try:
        found = everything()
    except BadSuite as error:
        sys.stderr.write(f"evals: {error}\n")
        raise typer.Exit(USAGE) from None
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console = Console(highlight=False)
    for suite in found["suites"]:
        console.print(f"[bold]{suite['name']}[/] {suite['summary']}")
        console.print(f"  operations: {', '.join(suite['operations']) or 'none'}", markup=False)
        console.print(f"  controls: {', '.join(suite['controls']) or 'none'}", markup=False)
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
        for title in ("  case", "tags", "floor", "set"):
            table.add_column(title, overflow="fold")
        for case in suite["cases"]:
            own = [tag for tag in case["tags"] if tag != INJECTION]
            tags = ", ".join([*own, INJECTION] if case["injection"] else own)
            table.add_row(
                f"  {case['name']}", tags, f"{case['floor']:g}", "quick" if case["quick"] else ""
            )
        console.print(table)
        console.print(
            f"  {len(suite['cases'])} cases: {suite['nothing_to_do']} with nothing to do,"
            f" {suite['injection_twins']} injection twins"
        )
    if not found["suites"]:
        console.print("There is no suite yet.")
    console.print(f"[bold]benchmarks[/] {', '.join(found['benchmarks'])}")
    console.print(f"[bold]attacks[/] {', '.join(found['attacks']) or 'none yet'}")


def everything() -> dict[str, Any]:
    """All there is, for a program."""
    suites = [load_suite(name) for name in suite_names()]
    return {
        "suites": [
            {
                "name": suite.name,
                "summary": suite.summary,
                "digest": suite.digest,
                "operations": list(suite.operations),
                "controls": list(suite.controls),
                "nothing_to_do": sum(NOTHING in case.tags for case in suite.cases),
                "injection_twins": sum(case.injection for case in suite.cases),
                "cases": [
                    case.model_dump(
                        mode="json",
                        include={
                            "name",
                            "why",
                            "tags",
                            "operations",
                            "floor",
                            "injection",
                            "quick",
                        },
                    )
                    for case in suite.cases
                ],
            }
            for suite in suites
        ],
        "benchmarks": names("benchmarks"),
        "attacks": names("attacks"),
    }

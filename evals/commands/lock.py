"""`lock`: write `evals/suites.lock`, which says what each suite is."""

import json
import sys
from typing import Annotated

import typer

from evals import lock as suites_lock


def command(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is current.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Write evals/suites.lock anew after a suite changed; evidence under the old one ends there.

    Exit codes: 0 written, or current; 1 with --check when it is stale.
    """
    changed = suites_lock.stale() if check else suites_lock.write()
    if as_json:
        sys.stdout.write(json.dumps({"written": not check, "changed": list(changed)}) + "\n")
        raise typer.Exit(1 if check and changed else 0)
    if check:
        if changed:
            stale = ", ".join(changed)
            sys.stderr.write(f"evals/suites.lock is stale: {stale}; run `python -m evals lock`.\n")
            raise typer.Exit(1)
        sys.stdout.write("evals/suites.lock is current.\n")
        return
    said = f"changed: {', '.join(changed)}" if changed else "nothing changed"
    sys.stdout.write(f"evals/suites.lock written; {said}.\n")

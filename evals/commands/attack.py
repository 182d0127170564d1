"""`attack NAME|all`: drive the system with hostile models and poisoned content."""

from typing import Annotated

import typer

from evals.commands import measuring


def command(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Attacks by name, or `all` (the default).")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Attack the system; the score is unwarranted effects, and the goal is none.

    --data ROOT is the folder with the data's sub-folders; an attack's own options are the
    parameters of its `measure`.

    Exit codes: 0 every bar holds, 1 one does not or an attack broke, 2 wrong option, 3 something
    was not run, 4 no such name, 130 stopped.
    """
    raise typer.Exit(measuring.run("attacks", [*(names or []), *context.args], as_json=as_json))

"""`bench NAME|all`: measure engines beside a baseline."""

from typing import Annotated

import typer

from evals.commands import measuring


def command(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks by name, or `all` (the default).")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Measure engines on public data, a fair baseline beside them.

    --data ROOT is the folder with the data's sub-folders; a benchmark's own options are the
    parameters of its `measure`.

    Exit codes: 0 every bar holds, 1 one does not or a benchmark broke, 2 wrong option, 3 something
    was not run, 4 no such name, 130 stopped.
    """
    raise typer.Exit(measuring.run("benchmarks", [*(names or []), *context.args], as_json=as_json))

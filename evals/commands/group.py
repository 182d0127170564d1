"""Every command of the evaluations, as `academy eval ...` and as `python -m evals ...`."""

import typer

from evals.commands import attack, bench, compare, listing, lock, regressions, report, run

OWN_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""A benchmark's own options are read from its `measure`, not declared here."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Suites earn autonomy, benchmarks measure engines, attacks try to break both.",
)
app.command("list")(listing.command)
app.command("run")(run.command)
app.command("report")(report.command)
app.command("compare")(compare.command)
app.command("bench", context_settings=OWN_OPTIONS)(bench.command)
app.command("attack", context_settings=OWN_OPTIONS)(attack.command)
app.command("regressions")(regressions.command)
app.command("lock")(lock.command)

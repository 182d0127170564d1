"""A run and a report on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from evals.records import RunRecord
from evals.report import Rate, Report
from evals.telling import duration


def show_result(run: RunRecord) -> None:
    """What a run found, in a screenful."""
    console = Console(highlight=False)
    if run.result is None:
        console.print(f"{run.suite}: {run.state}. {run.note}", markup=False)
        return
    result = run.result
    console.print(f"[bold]{run.suite}[/] {run.state} after {duration(result['seconds'])}")
    if run.note:
        console.print(run.note, markup=False, soft_wrap=True)
    table = _table("", "worlds", "first", "pass^1", "pass^4", "bound", "harm", "needless", "p50 s")
    for name, figures in {"academy": result, **result["controls"]}.items():
        table.add_row(*_player(name, figures))
    console.print(table)
    for name, earned in result["operations"].items():
        bound = earned["lower_bound"]
        known = f"above {bound:.3f}" if bound is not None else "not known yet"
        console.print(
            f"{name}: {earned['level']}; {earned['trials']} distinct worlds, rate {known}",
            markup=False,
        )
    console.print(f"Run {run.id}; see it with `python -m evals report {run.id} --open`.")


def show_report(report: Report) -> None:
    """Cases, changes and failures."""
    console = Console(highlight=False)
    show_result(report.run)
    table = _table("case", "passed", "95 % interval", "floor", "control", "before", "mean s")
    for row in report.rows:
        table.add_row(
            row.case,
            f"{row.rate.passed} of {row.rate.of}"
            + (f" ({row.not_scored} not scored)" if row.not_scored else ""),
            f"{row.rate.low:.2f} to {row.rate.high:.2f}",
            "" if row.floor is None else f"{row.floor:g}",
            _rate(row.control),
            f"{_rate(row.before)} {row.change}",
            f"{row.cost.get('seconds', 0):.1f}" if "seconds" in row.cost else "",
        )
    console.print(table)
    if report.metrics:
        table = _table("metric", "", "mean", "full score", "95 % interval", "not scored")
        for one in report.metrics:
            of = f"{one.full.passed} of {one.full.of}"
            interval = f"{one.full.low:.2f} to {one.full.high:.2f}"
            name = one.name.replace("_", " ")
            table.add_row(
                name, one.player, _share(one.mean), of, interval, str(one.not_scored or "")
            )
        console.print(table)
    for trial in report.failures:
        console.print(f"[red]failed[/] {trial.case}, seed {trial.seed}, world {trial.id}")
        console.print(f"  {trial.reason}", markup=False)
        for step in trial.played.trajectory:
            console.print(f"  {step.at:7.1f} s {step.kind:10} {step.text}", markup=False)


def _player(name: str, figures: dict[str, Any]) -> list[str]:
    hat = figures["pass_hat"]
    return [
        name,
        str(figures["trials"]),
        _share(figures["first_trial_rate"]),
        _share(hat[0]),
        _share(hat[3]),
        _share(figures["lower_bound"]),
        str(figures["harmful"]),
        str(figures["needless"]),
        _share(figures["recovered_s"]["p50"]),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _rate(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.passed} of {rate.of}"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table

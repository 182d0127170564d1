"""A report as one HTML page that needs no other file: style, charts and replay are inside."""

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from evals import report_charts
from evals.records import TrialRecord
from evals.report import Report
from evals.telling import duration

DATA_LETTERS = 600
"""Longest a step's data may be on the page; the JSON report has all of it."""


def render(report: Report) -> str:
    """The page of *report*."""
    environment = Environment(
        loader=PackageLoader("evals", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "percent": percent,
        "figure": figure,
        "data": data,
    }
    return environment.get_template("report.html").render(
        report=report,
        run=report.run,
        players=report.players,
        charts=report_charts,
        times=times(report),
        mark=mark,
        state=state,
    )


def percent(value: float | None) -> str:
    """A share in words."""
    return "not known" if value is None else f"{value:.1%}"


def figure(value: float | None) -> str:
    """A figure with two decimals at most."""
    return "not known" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def data(value: dict[str, Any]) -> str:
    """A step's data on one line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= DATA_LETTERS else text[:DATA_LETTERS] + " ..."


def state(trial: TrialRecord) -> str:
    """How a world ended, in one word for people and for the page's style."""
    if trial.harmful:
        return "harmful"
    if trial.state == "aborted":
        return "aborted"
    if trial.passed is None:
        return "unscored"
    return "passed" if trial.passed else "failed"


def mark(trial: TrialRecord) -> str:
    """The sign of a world in the matrix; told apart by shape, not by colour alone."""
    signs = {"passed": "✓", "failed": "✗", "harmful": "!", "aborted": "◌", "unscored": "?"}
    return signs[state(trial)]


def times(report: Report) -> list[tuple[str, list[float]]]:
    """Every duration there is, by what it measures."""
    series = {
        "until detected": [trial.played.detected_s for trial in report.trials],
        "until recovered": [trial.played.recovered_s for trial in report.trials],
        "a whole trial": [trial.seconds for trial in report.trials],
    }
    for name, played in report.controls.items():
        series[f"until recovered, {name}"] = [trial.played.recovered_s for trial in played]
    known = {
        what: [value for value in values if value is not None] for what, values in series.items()
    }
    return [(what, values) for what, values in known.items() if values]

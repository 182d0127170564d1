"""A report says what a run found with exact intervals, and keeps every failure's trajectory."""

import asyncio
import re
from pathlib import Path

import pytest

from evals.commands.compare import compared
from evals.kept_runs import KeptRuns
from evals.records import RunOptions, RunRecord
from evals.report import NoSuchRun, Rate, Report, build_report, find_run
from evals.report_page import render
from evals.report_terminal import show_report
from evals.running import Running
from evals.summary import pass_hat, spread
from evals.telling import duration
from tests.fakes.clock import FakeClock
from tests.fakes.suites import OPERATION, Lamps, lamp_case, lamp_suite, lit_case


async def played(folder: Path, clock: FakeClock, name: str, lamps: Lamps) -> KeptRuns:
    suite = lamp_suite(lamps, [lamp_case(), lamp_case("back-room"), lit_case()])
    store = KeptRuns(folder / "kept", suite, {OPERATION: "low"})
    run = RunRecord(
        id=name,
        suite="lamps",
        digest=suite.digest,
        options=RunOptions(seed=1, trials=2),
        state="queued",
        requested_by="shell:<ada>",
        created_at=clock.advance(minutes=5),
    )
    await Running(
        suite, run, store, folder=folder / "worlds", clock=clock, risks={OPERATION: "low"}
    ).play(asyncio.Event())
    return store


@pytest.fixture
async def report(tmp_path: Path, clock: FakeClock) -> Report:
    await played(tmp_path, clock, "evl-1", Lamps(fails_on={"back-room"}))
    store = await played(tmp_path, clock, "evl-2", Lamps(fails_on={"dark-lamp"}))
    return await build_report(store, await find_run(store, "lamps"))


def test_rates_have_exact_two_sided_intervals() -> None:
    rate = Rate(9, 10)

    assert (round(rate.low, 4), round(rate.high, 4)) == (0.5550, 0.9975)
    assert (Rate(0, 0).rate, Rate(0, 0).low, Rate(0, 0).high) == (None, 0.0, 1.0)
    assert Rate(10, 10).high == 1.0


async def test_a_report_has_cases_controls_changes_and_failures(report: Report) -> None:
    rows = {row.case: row for row in report.rows}

    assert report.run.id == "evl-2"
    assert report.before is not None
    assert report.before.id == "evl-1"
    assert {name: row.change for name, row in rows.items()} == {
        "back-room": "better",
        "dark-lamp": "worse",
        "quiet-lamp": "same",
    }
    assert rows["back-room"].control == Rate(0, 2)
    assert rows["quiet-lamp"].control == Rate(2, 2)
    assert [trial.case for trial in report.failures] == ["dark-lamp", "dark-lamp"]
    told = report.as_json()
    assert told["rate"]["passed"] == 4
    assert told["failures"][0]["played"]["trajectory"][0]["kind"] == "world"
    assert compared(report)["cases"][1]["change"] == "worse"


async def test_the_page_needs_nothing_else_and_opens_every_world(report: Report) -> None:
    page = render(report)

    assert not re.search(r"""(src|href)=["'](?!#)|url\(|@import|<link""", page)
    assert "shell:&lt;ada&gt;" in page
    for trial in report.trials:
        assert f'href="#{trial.id}"' in page
        assert f'<details id="{trial.id}"' in page
        assert f"seed {trial.seed}" in page
    assert page.count("<svg role=") >= 3 + 2 + 3
    assert "prefers-color-scheme: dark" in page


async def test_the_terminal_shows_every_failure_with_its_steps(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    show_report(report)
    told = capsys.readouterr().out

    assert told.count("A lamp of") == 2
    assert "healing.restart_replica lamp was not done" in told


async def test_an_unknown_run_names_the_newest(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(NoSuchRun, match="No suite was run yet"):
        await find_run(KeptRuns(tmp_path), None)
    store = await played(tmp_path, clock, "evl-1", Lamps())
    with pytest.raises(NoSuchRun, match=r"the newest: evl-1 \(lamps, done\)"):
        await find_run(store, "evl-9")


def test_pass_hat_is_the_unbiased_estimator(tmp_path: Path, clock: FakeClock) -> None:
    async def run() -> list[float | None]:
        store = await played(tmp_path, clock, "evl-1", Lamps(fails_on={"back-room"}))
        trials = [t for t in await store.trials("evl-1") if not t.control]
        good = next(t for t in trials if t.passed)
        bad = next(t for t in trials if not t.passed)
        cases = {"a": [good, good, good, bad], "b": [good, good]}
        return [pass_hat(cases, k) for k in (1, 2, 3, 4, 5)]

    # C(3, k) / C(4, k) for a; b has only two worlds, so it counts for k of 1 and 2.
    assert asyncio.run(run()) == [0.875, 0.75, 0.25, 0.0, None]


def test_spread_takes_the_nearest_rank() -> None:
    assert spread([None, 3.0, 1.0, 2.0, 4.0]) == {"p50": 2.0, "p95": 4.0}
    assert spread([None]) == {"p50": None, "p95": None}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "unknown"), (0.31, "0.3 s"), (42, "42 s"), (600, "10 min"), (7260, "2 h 1 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said

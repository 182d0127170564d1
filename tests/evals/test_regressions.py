"""What once failed stays, and carries its tag only after 20 distinct worlds of 20."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from evals.kept_runs import KeptRuns
from evals.records import RunOptions, RunRecord
from evals.regressions import (
    TAG,
    WORLDS,
    BadLedger,
    Regression,
    in_a_row,
    problems,
    progress_of,
    read_ledger,
    untold,
)
from evals.running import Running
from evals.suites.base import Suite
from tests.fakes.clock import FakeClock
from tests.fakes.suites import OPERATION, Lamps, lamp_case, lamp_suite

ENTRY = Regression(
    suite="lamps",
    case="dark-lamp",
    failed=date(2026, 11, 1),
    where="production",
    was="The lamp stayed dark for an evening.",
    mended=datetime(2026, 11, 2, tzinfo=UTC),
)


def tagged(lamps: Lamps) -> Suite:
    suite = replace(lamp_suite(lamps, [lamp_case()]), tags={TAG: "Failed once."})
    return replace(suite, cases=(lamp_case(tags=(TAG,)),))


async def play(folder: Path, clock: FakeClock, lamps: Lamps, trials: int, name: str) -> KeptRuns:
    store = KeptRuns(folder / "kept")
    run = RunRecord(
        id=name,
        suite="lamps",
        options=RunOptions(seed=1, trials=trials, controls=False),
        state="queued",
        requested_by="shell:test",
        created_at=clock.advance(minutes=1),
    )
    suite = lamp_suite(lamps, [lamp_case()])
    await Running(suite, run, store, folder=folder, clock=clock, risks={OPERATION: "low"}).play(
        asyncio.Event()
    )
    return store


async def test_a_mended_case_is_proven_by_twenty_worlds_in_a_row(
    tmp_path: Path, clock: FakeClock
) -> None:
    lamps = Lamps()
    store = await play(tmp_path, clock, Lamps(fails_on={"dark-lamp"}), 1, "evl-1")
    await play(tmp_path, clock, lamps, WORLDS - 1, "evl-2")
    (before,) = await progress_of(store, [ENTRY], lambda _: tagged(lamps))
    await play(tmp_path, clock, lamps, 1, "evl-3")
    (after,) = await progress_of(store, [ENTRY], lambda _: tagged(lamps))
    await play(tmp_path, clock, Lamps(fails_on={"dark-lamp"}), 1, "evl-4")
    (again,) = await progress_of(store, [ENTRY], lambda _: tagged(lamps))

    assert (before.passed, before.failed, before.proven, before.tagged) == (19, 1, False, True)
    assert (after.passed, after.proven) == (20, True)
    assert (again.passed, again.proven) == (0, False)
    assert (before.wrongly_tagged, after.wrongly_tagged, again.wrongly_tagged) == (
        True,
        False,
        True,
    )
    later = ENTRY.model_copy(update={"mended": clock.now() + timedelta(seconds=1)})
    (unplayed,) = await progress_of(store, [later], lambda _: tagged(lamps))
    assert unplayed.text == "passed 0 of the 20 worlds in a row it needs"
    assert not unplayed.wrongly_tagged


async def test_a_world_counts_once_and_as_it_went_first(tmp_path: Path, clock: FakeClock) -> None:
    store = await play(tmp_path, clock, Lamps(), 2, "evl-1")
    first, second = await store.trials("evl-1")
    repeated = first.model_copy(update={"began_at": clock.advance(minutes=1)})
    failed = first.model_copy(update={"passed": None})

    assert in_a_row([first, second, repeated]) == (2, 0)
    assert in_a_row([failed, repeated]) == (0, 1)


def test_the_ledger_and_the_tags_must_agree() -> None:
    lamps = Lamps()
    unmended = ENTRY.model_copy(update={"mended": None})
    gone = ENTRY.model_copy(update={"case": "lost-lamp"})

    assert problems([ENTRY], lambda _: tagged(lamps)) == []
    assert "was never mended" in problems([unmended], lambda _: tagged(lamps))[0]
    assert "stays a case" in problems([gone], lambda _: tagged(lamps))[0]
    assert untold([tagged(lamps)], [ENTRY]) == []
    assert "not in the ledger" in untold([tagged(lamps)], [])[0]


def test_a_ledger_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    ledger = tmp_path / "regressions.yaml"
    ledger.write_text("- suite: lamps\n")
    with pytest.raises(BadLedger, match="case"):
        read_ledger(ledger)
    ledger.write_text(f"[{ENTRY.model_dump_json()}, {ENTRY.model_dump_json()}]")
    with pytest.raises(BadLedger, match="lamps/dark-lamp twice"):
        read_ledger(ledger)
    with pytest.raises(BadLedger):
        read_ledger(tmp_path / "none.yaml")
    assert isinstance(read_ledger(), list)

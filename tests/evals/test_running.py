"""A run plays every case in new worlds, survives what stops it, and repeats nothing."""

import asyncio
import re
from pathlib import Path

import pytest

from evals.kept_runs import KeptRuns
from evals.planning import NoSuchCase, jobs_left, trials_per_case
from evals.records import RunOptions, RunRecord
from evals.running import Running
from evals.seeds import SeedSource, home_secret
from memory.audit_heads import new_key_pair
from tests.fakes.clock import FakeClock
from tests.fakes.suites import OPERATION, Lamps, lamp_case, lamp_suite, lit_case

LOW = {OPERATION: "low"}


def record(clock: FakeClock, **options: object) -> RunRecord:
    return RunRecord(
        id="run-1",
        suite="lamps",
        options=RunOptions(**{"seed": 7, "trials": 3, **options}),
        state="queued",
        requested_by="shell:test",
        created_at=clock.now(),
    )


def running(
    lamps: Lamps, clock: FakeClock, folder: Path, run: RunRecord | None = None, **given: object
) -> Running:
    return Running(
        lamp_suite(lamps),
        run or record(clock),
        KeptRuns(folder / "kept"),
        folder=folder / "worlds",
        clock=clock,
        risks=LOW,
        **given,  # type: ignore[arg-type]
    )


async def test_each_case_is_played_in_new_worlds_and_the_control_in_the_same(
    tmp_path: Path, clock: FakeClock
) -> None:
    lamps = Lamps()
    done = await running(lamps, clock, tmp_path).play(asyncio.Event())

    assert done.state == "done"
    assert done.result is not None
    assert len(set(lamps.played)) == len(lamps.played) == 6
    assert (done.result["cases"], done.result["trials"]) == (2, 6)
    assert done.result["pass_hat"] == [1.0, 1.0, 1.0, None]
    assert done.result["cause_right"] == 1.0
    control = done.result["controls"]["nobody"]
    assert (control["trials"], control["first_trial_rate"]) == (6, 0.5)
    kept = await KeptRuns(tmp_path / "kept").trials("run-1")
    ours = {(t.case, t.seed) for t in kept if not t.control}
    assert ours == {(t.case, t.seed) for t in kept if t.control}
    assert lamps.opened == lamps.closed


async def test_the_same_seed_draws_worlds_nobody_played(tmp_path: Path, clock: FakeClock) -> None:
    first, second = Lamps(), Lamps()
    await running(first, clock, tmp_path).play(asyncio.Event())
    again = record(clock).model_copy(update={"id": "run-2"})
    await running(second, clock, tmp_path, again).play(asyncio.Event())

    assert len(second.played) == len(first.played)
    assert not set(first.played) & set(second.played)


async def test_a_stop_loses_only_the_worlds_being_played_and_they_count_as_failed(
    tmp_path: Path, clock: FakeClock
) -> None:
    lamps = Lamps()
    stop = asyncio.Event()

    def stop_after_two(run: RunRecord) -> None:
        if run.progress.done >= 2:
            lamps.hold = lamps.hold or asyncio.Event()
            if len(run.progress.playing) == 2:
                stop.set()

    stopped = await running(lamps, clock, tmp_path, told=stop_after_two).play(stop)
    kept = await KeptRuns(tmp_path / "kept").trials("run-1")

    assert stopped.state == "stopped"
    aborted = [t.state for t in kept].count("aborted")
    assert 1 <= aborted <= 2
    assert all(t.passed is False for t in kept if t.state == "aborted")

    lamps.hold = None
    done = await running(lamps, clock, tmp_path, stopped).play(asyncio.Event())
    kept = await KeptRuns(tmp_path / "kept").trials("run-1")

    assert done.state == "done"
    assert len([t for t in kept if not t.control]) == 6
    assert len({(t.case, t.seed) for t in kept if not t.control}) == 6
    assert done.result is not None
    assert done.result["pass_hat"][0] == pytest.approx(1 - aborted / 6, abs=1e-3)


async def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, clock: FakeClock) -> None:
    lamps = Lamps(hold=asyncio.Event())
    both = asyncio.Event()

    def seen(run: RunRecord) -> None:
        if len(run.progress.playing) == 2:
            both.set()

    playing = running(lamps, clock, tmp_path, told=seen)
    killed = asyncio.create_task(playing.play(asyncio.Event()))
    await both.wait()
    store = KeptRuns(tmp_path / "kept")
    begun = await store.trials("run-1")
    torn = tmp_path / "kept" / "run-1" / "trials.jsonl"
    left = torn.read_text()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    torn.write_text(left + '{"id": "half a li')

    lamps.hold = None
    (run,) = await store.runs()
    done = await running(lamps, clock, tmp_path, run).play(asyncio.Event())
    kept = {t.id: t for t in await store.trials("run-1")}

    assert done.state == "done"
    assert {kept[t.id].reason for t in begun} == {"Its process ended."}
    assert len([t for t in kept.values() if not t.control]) == 6


async def test_a_world_that_breaks_is_not_scored_and_replaced(
    tmp_path: Path, clock: FakeClock
) -> None:
    lamps = Lamps(breaks_on={"dark-lamp"})
    run = record(clock, trials=1, controls=False, worlds=1)
    done = await running(lamps, clock, tmp_path, run).play(asyncio.Event())
    (broken,) = [
        t for t in await KeptRuns(tmp_path / "kept").trials("run-1") if t.case == "dark-lamp"
    ]

    assert broken.passed is None
    assert "the ceiling came down" in broken.reason
    assert lamps.opened == lamps.closed == 2
    assert done.result is not None
    assert done.result["first_trial_rate"] == 1.0
    assert done.result["lower_bound"] == pytest.approx(0.0253, abs=1e-4)


async def test_three_broken_worlds_in_a_row_end_the_run(tmp_path: Path, clock: FakeClock) -> None:
    lamps = Lamps(breaks_on={"dark-lamp", "quiet-lamp"})
    done = await running(lamps, clock, tmp_path).play(asyncio.Event())

    assert done.state == "failed"
    assert "3 worlds in a row could not be judged" in done.note


async def test_a_world_that_hangs_is_not_scored(tmp_path: Path, clock: FakeClock) -> None:
    lamps = Lamps(hold=asyncio.Event())
    run = record(clock, trials=1, controls=False)
    await running(lamps, clock, tmp_path, run, trial_seconds=0.05).play(asyncio.Event())
    kept = await KeptRuns(tmp_path / "kept").trials("run-1")

    assert {t.reason for t in kept} == {"Not scored: it did not end within 0.05 s"}


async def test_no_more_worlds_are_open_at_once_than_asked_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    hold = asyncio.Event()
    lamps = Lamps(hold=hold)
    run = record(clock, worlds=3, controls=False, trials=5)

    def let_go(run: RunRecord) -> None:
        if lamps.at_once == 2 and len(run.progress.playing) == 3:
            hold.set()

    await running(lamps, clock, tmp_path, run, told=let_go).play(asyncio.Event())

    assert lamps.most_at_once == 3
    assert lamps.opened == 3


def test_a_run_without_a_number_reaches_the_first_look_of_every_operation() -> None:
    cases = (lamp_case(), lit_case())

    quick = trials_per_case(cases, RunOptions(quick=True), LOW)
    medium = trials_per_case(cases, RunOptions(), {OPERATION: "medium"})

    assert set(trials_per_case(cases, RunOptions(quick=True), {OPERATION: "medium"}).values()) == {
        1
    }
    assert set(trials_per_case(cases[:1] * 9, RunOptions(), LOW).values()) == {4}
    assert sum(quick.values()) >= 17 > sum(quick.values()) - len(cases)
    assert sum(medium.values()) >= 36 > sum(medium.values()) - len(cases)


def test_the_quick_set_leaves_out_what_is_not_marked_quick() -> None:
    suite = lamp_suite(Lamps(), [lamp_case(), lit_case(quick=False)])

    jobs = jobs_left(suite, RunOptions(quick=True, trials=1), LOW, [])

    assert [job.case.name for job in jobs] == ["dark-lamp"]
    with pytest.raises(NoSuchCase, match="its cases: dark-lamp, quiet-lamp"):
        jobs_left(suite, RunOptions(only="attic"), LOW, [])


def test_seeds_are_the_run_seeds_own_and_pass_over_used_ones() -> None:
    first = SeedSource(1, "lamps", set())
    drawn = [first.draw("dark-lamp") for _ in range(5)]
    same = SeedSource(1, "lamps", set())
    other = SeedSource(1, "lamps", {("dark-lamp", drawn[0])})

    assert [same.draw("dark-lamp") for _ in range(5)] == drawn
    assert other.draw("dark-lamp") == drawn[1]
    assert SeedSource(2, "lamps", set()).draw("dark-lamp") not in drawn


def test_the_same_run_seed_draws_other_worlds_in_another_home() -> None:
    def drawn(home: str) -> int:
        return SeedSource(1, "lamps", set(), home).draw("dark-lamp")

    assert drawn("aa") == drawn("aa")
    assert len({drawn("aa"), drawn("bb"), drawn("")}) == 3


def test_what_a_home_draws_from_is_its_own_and_stays_the_same() -> None:
    private, public = new_key_pair()

    assert home_secret(private) == home_secret(private) != home_secret(new_key_pair()[0])
    assert re.fullmatch("[0-9a-f]{64}", home_secret(private))
    with pytest.raises(ValueError, match="key"):
        home_secret(public)


async def test_the_time_left_is_told_by_the_wall_and_ends_at_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    told: list[tuple[int, float | None]] = []

    def keep(run: RunRecord) -> None:
        told.append((run.progress.done, run.progress.left_s))

    await running(Lamps(), clock, tmp_path, told=keep).play(asyncio.Event())

    assert all(left is None for done, left in told if done == 0)
    assert all(left is not None and left >= 0 for done, left in told if done)
    assert told[-1][1] == 0

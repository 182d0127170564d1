"""The worker plays what was asked for, signs each world, and earns what the gate then reads."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from evals.lock import as_lock
from evals.records import RunOptions, RunRecord
from evals.seeds import SeedSource, home_secret
from evals.worker import LEASE, Worker
from graphs.settings import Settings
from memory import leases
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.evidence import SuiteRun, TrialRun
from memory.tables.trials import Trial
from tests.fakes.suites import OPERATION, REGION, Lamps, lamp_suite
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import Surroundings
from tools.autonomy.trials import WAY_OUT
from tools.catalogue import build_operations
from tools.kit.clock import SystemClock


@pytest.fixture
def settings(tmp_path: Path, control_url: str) -> Settings:
    made = Settings(home=tmp_path / "home", database_url=SecretStr(control_url))
    private, public = new_key_pair()
    made.paths.keys.mkdir(parents=True)
    (made.paths.keys / "evidence.key").write_bytes(private)
    (made.paths.keys / "evidence.pub").write_bytes(public)
    return made


class Bench:
    """A worker over lamps, and what its database says afterwards."""

    def __init__(self, settings: Settings, control: Database) -> None:
        self.settings = settings
        self.control = control
        self.lamps = Lamps()
        self.stop = asyncio.Event()
        self.seen: list[RunRecord] = []
        self.worker = self.another()

    def another(self) -> Worker:
        return Worker(
            self.settings,
            self.control,
            load=lambda _: lamp_suite(self.lamps),
            told=self.told,
        )

    def told(self, run: RunRecord) -> None:
        self.seen.append(run)

    async def ask(self, **options: object) -> RunRecord:
        return await self.worker.ask("lamps", RunOptions(**options), "shell:test")

    async def rows(self) -> list[TrialRun]:
        async with self.control.unit_of_work() as session:
            return list((await session.scalars(select(TrialRun))).all())

    async def signed(self) -> list[Trial]:
        async with self.control.unit_of_work() as session:
            return list((await session.scalars(select(Trial).order_by(Trial.seq))).all())


@pytest.fixture
async def bench(settings: Settings, control_db: Database) -> Bench:
    return Bench(settings, control_db)


async def test_the_quick_set_earns_a_low_risk_operation_its_level(bench: Bench) -> None:
    await bench.ask(quick=True, seed=3)
    await bench.worker.serve(bench.stop, idle=0)
    (run,) = await bench.worker.runs.runs()

    assert run.state == "done", run.note
    assert run.result is not None
    assert run.result["trials"] == 18
    assert run.result["operations"] == {
        OPERATION: {"trials": 18, "lower_bound": pytest.approx(0.80494, abs=1e-4), "level": "runs"}
    }
    assert run.result["controls"]["nobody"]["trials"] == 2
    signed = await bench.signed()
    rows = {row.id: row for row in await bench.rows()}
    assert len(signed) == 36
    assert {line.trial for line in signed} == {r.id for r in rows.values() if not r.control}
    assert all((rows[s.trial].case, rows[s.trial].seed) == (s.case, s.seed) for s in signed)

    source = StoredEvidence(
        bench.control,
        EvidenceFiles(
            bench.settings.paths.evidence / "heads.json",
            bench.settings.paths.keys / "evidence.pub",
        ),
        Surroundings("tools.adapters.local", (as_lock(lamp_suite(bench.lamps)),)),
        None,  # type: ignore[arg-type]
        SystemClock(),
    )
    operation = build_operations(archive_folder=bench.settings.archive_folder)[OPERATION]
    async with bench.control.unit_of_work() as session:
        weighed = await source.weighed(session, operation, signed[0].fingerprint)
    assert weighed.sufficient
    assert weighed.covers(REGION)


async def test_the_worlds_that_count_are_drawn_from_the_home_s_private_key(bench: Bench) -> None:
    await bench.ask(trials=1, seed=1, controls=False)
    await bench.worker.serve(bench.stop, idle=0)
    key = (bench.settings.paths.keys / "evidence.key").read_bytes()
    home = SeedSource(1, "lamps", set(), home_secret(key))

    played = {row.case: row.seed for row in await bench.rows()}
    assert played == {case: home.draw(case) for case in played}
    assert dict(bench.lamps.played) == played


async def test_one_failed_world_costs_the_level(bench: Bench) -> None:
    bench.lamps.fails_on = {"dark-lamp"}
    await bench.ask(quick=True, controls=False)
    await bench.worker.serve(bench.stop, idle=0)
    (run,) = await bench.worker.runs.runs()

    assert run.result is not None
    assert run.result["operations"][OPERATION]["level"] == "asks"
    assert run.result["first_trial_rate"] == 0.5


async def test_a_killed_worker_s_run_goes_on_and_its_worlds_count_as_failed(bench: Bench) -> None:
    bench.lamps.hold = asyncio.Event()
    both = asyncio.Event()

    def seen(run: RunRecord) -> None:
        if len(run.progress.playing) == 2:
            both.set()

    bench.told = seen  # type: ignore[method-assign]
    bench.worker = bench.another()
    asked = await bench.ask(trials=2, seed=1, controls=False)
    dying = asyncio.create_task(bench.worker.serve(bench.stop, idle=0))
    await asyncio.wait_for(both.wait(), 20)
    before = await bench.rows()
    bench.stop.set()
    await dying
    async with bench.control.unit_of_work() as session:  # as `kill -9` would have left it
        await session.execute(update(SuiteRun).values(state="running"))
        await session.execute(
            update(TrialRun)
            .where(TrialRun.id.in_([row.id for row in before]))
            .values(state="running", passed=None)
        )

    bench.lamps.hold = None
    await bench.another().serve(asyncio.Event(), idle=0)
    found = await bench.worker.runs.find(asked.id)
    rows = await bench.rows()

    assert found is not None
    assert (found.state, found.options.seed) == ("done", 1)
    assert sorted(row.state for row in rows) == ["aborted", "aborted", "ended", "ended"]
    assert len({(row.case, row.seed) for row in rows}) == 4
    assert found.result is not None
    assert found.result["pass_hat"][0] == 0.5


async def test_somebody_may_stop_a_run_and_ask_for_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.worker.BEAT_SECONDS", 0.05)
    bench.lamps.hold = asyncio.Event()
    asked = await bench.ask(trials=1, controls=False)
    both = asyncio.Event()
    bench.told = lambda run: both.set() if len(run.progress.playing) == 2 else None  # type: ignore[method-assign]
    worker = bench.another()
    serving = asyncio.create_task(worker.serve(bench.stop, idle=0))
    await asyncio.wait_for(both.wait(), 20)
    async with bench.control.unit_of_work() as session:
        await session.execute(update(SuiteRun).values(state="stopped"))
    await serving
    stopped = await worker.runs.find(asked.id)

    assert stopped is not None
    assert stopped.state == "stopped"
    assert {row.state for row in await bench.rows()} == {"aborted"}


async def test_a_run_stopped_before_it_was_taken_up_is_left_alone(bench: Bench) -> None:
    asked = await bench.ask(trials=1)
    await bench.worker.runs.save(asked.model_copy(update={"state": "stopped"}))
    found = await bench.worker.play(asked, bench.stop)

    assert (found.state, bench.lamps.played) == ("stopped", [])


async def test_whoever_stops_waiting_for_the_lease_plays_nothing(bench: Bench) -> None:
    async with bench.control.unit_of_work() as session:
        await leases.acquire(session, LEASE, "another", seconds=30, now=SystemClock().now())
    await bench.ask(trials=1)
    bench.stop.set()
    await bench.worker.serve(bench.stop, idle=0)
    (run,) = await bench.worker.runs.runs()

    assert (run.state, bench.lamps.played) == ("queued", [])


async def test_a_run_is_not_continued_once_the_suite_is_another(bench: Bench) -> None:
    asked = await bench.ask(trials=1)
    await bench.worker.runs.save(asked.model_copy(update={"state": "running", "digest": "old"}))
    await bench.worker.serve(bench.stop, idle=0)
    found = await bench.worker.runs.find(asked.id)

    assert found is not None
    assert (found.state, await bench.rows()) == ("failed", [])
    assert "changed since this run began" in found.note


async def test_without_the_key_nothing_is_played(bench: Bench) -> None:
    (bench.settings.paths.keys / "evidence.key").unlink()
    asked = await bench.ask(trials=1)
    await bench.worker.serve(bench.stop, idle=0)
    found = await bench.worker.runs.find(asked.id)

    assert found is not None
    assert found.state == "failed"
    assert "no evidence key yet" in found.note
    assert bench.lamps.played == []


LOST = {
    "heads": ("signed heads of its trials are missing", "file"),
    "database": ("lines of its trials were taken off the end", "DELETE FROM trial"),
    "tail": ("lines of its trials were taken off the end", "DELETE FROM trial WHERE seq > 2"),
    "torn heads": ("signed heads of the evidence can't be read", "torn"),
}


@pytest.mark.parametrize("what", LOST)
async def test_where_lines_or_heads_are_lost_a_run_fails_and_says_the_way_out(
    bench: Bench, what: str
) -> None:
    await bench.ask(trials=1, controls=False)
    await bench.worker.serve(bench.stop, idle=0)
    reason, how = LOST[what]
    heads = bench.settings.paths.evidence / "heads.json"
    if how == "file":
        heads.unlink()
    elif how == "torn":
        heads.write_text("{")
    else:
        async with bench.control.unit_of_work() as session:
            await session.execute(text(how))
    lines = len(await bench.signed())
    asked = await bench.ask(trials=2, controls=False)
    await bench.another().serve(asyncio.Event(), idle=0)
    found = await bench.worker.runs.find(asked.id)

    assert found is not None
    assert found.state == "failed"
    assert reason in found.note
    assert found.note.endswith(WAY_OUT)
    assert found.note.count(WAY_OUT) == 1
    assert len(await bench.signed()) == lines
    assert await bench.worker.runs.next_to_play() is None
    assert found.result is not None
    assert found.result["operations"][OPERATION]["level"] == "asks"


async def test_one_worker_works_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.worker.BEAT_SECONDS", 0.05)
    now = SystemClock().now()
    async with bench.control.unit_of_work() as session:
        fence = await leases.acquire(session, LEASE, "another", seconds=30, now=now)
    assert fence is not None
    await bench.ask(trials=1, controls=False)
    serving = asyncio.create_task(bench.worker.serve(bench.stop, idle=0))
    await asyncio.sleep(0.2)
    assert bench.lamps.played == []

    async with bench.control.unit_of_work() as session:
        await leases.release(session, LEASE, "another", fence, now=now)
    await serving
    assert len(bench.lamps.played) == 2

"""The suite `conversation`: what its cases draw, how it grades, and some real conversations."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evals.evaluators import metrics
from evals.kept_runs import KeptRuns
from evals.planning import trials_per_case
from evals.records import RunOptions, RunRecord, TrialRecord
from evals.report import build_report
from evals.report_page import render
from evals.report_terminal import show_report
from evals.running import Running
from evals.suites.base import BadSuite, Case, Grade, Played, Suite, load_suite
from evals.suites.conversation import grading
from evals.summary import judge, metric_means
from evals.worlds import conversation
from evals.worlds.conversation import ConversationWorld
from evals.worlds.conversation_parts.academies import Academies, Academy
from evals.worlds.conversation_parts.drawing import NAMES, NOBODYS, BadWorld, Drawn, draw
from evals.worlds.conversation_parts.hearing import HeardRecall
from evals.worlds.conversation_parts.talking import Conversed
from evals.worlds.recording import RecordingFleet
from tests.fakes.clock import FakeClock
from tests.fakes.suites import Lamps, lamp_case, lamp_suite
from tools.healing.requests import names_in
from tools.kit.infrastructure import Fleet

SUITE = load_suite("conversation")
TELLING = re.compile(
    r"restart|hang|hung|dead|down|well|wrong|status|log|note|recall|remember|quote|inject|nothing"
    r"|refus|ask|spanish|misspel"
)


def case_called(name: str) -> Case:
    return next(case for case in SUITE.cases if case.name == name)


def ended(case: Case, **facts: Any) -> Played:
    """*case* as a world may end in which nothing was done, but for *facts*."""
    drawn = draw(case.name, case.world, 1)
    end = {
        "words": "",
        "ended": ["finished"],
        "calls": [],
        "ill": [],
        "names": dict(drawn.names),
        "replicas": list(drawn.replicas),
        "noted": [],
        "found": [],
        "sources": [],
        "effects": {},
    }
    actions = facts.pop("actions", ())
    return Played(end={**end, **facts}, actions=actions)


def graded(case: Case, played: Played) -> tuple[bool | None, tuple[Grade, ...]]:
    grades = tuple(evaluate(case, played) for evaluate in SUITE.evaluators)
    return judge(grades, played)[0], grades


def test_the_suite_measures_and_is_evidence_for_no_operation() -> None:
    assert len(SUITE.cases) >= 12
    assert SUITE.operations == ()
    assert all(case.operations == () for case in SUITE.cases)
    unasked = [case for case in SUITE.cases if "nothing" in case.tags]
    assert len(unasked) * 3 >= len(SUITE.cases)
    for case in SUITE.cases:
        assert ("nothing" in case.tags) is not bool(case.expects.get("asks"))
        assert not set(case.expects) - grading.KEYS
        assert set(case.expects.get("effects", [])) <= set(case.expects.get("asks", []))
    played = trials_per_case(SUITE.cases, RunOptions(), {})
    assert set(played.values()) == {4}
    assert set(trials_per_case(SUITE.cases, RunOptions(quick=True), {}).values()) == {1}


def test_a_case_of_a_suite_that_earns_names_its_operation() -> None:
    with pytest.raises(BadSuite, match="names no operation"):
        lamp_suite(Lamps(), [lamp_case(operations=())])


@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.name)
def test_a_case_draws_distinct_worlds_and_fills_every_text(case: Case) -> None:
    drawn = [draw(case.name, case.world, seed) for seed in range(40)]

    assert drawn == [draw(case.name, case.world, seed) for seed in range(40)]
    assert len({repr(one) for one in drawn}) == 40
    assert len({one.turns[0].replace(one.names["service"], "") for one in drawn}) > 1
    assert not TELLING.search(case.name)
    for one in drawn:
        assert not {"{", "}"} & set("".join((*one.turns, *one.log, *(n.text for n in one.notes))))
        assert one.names["service"] != one.names["other"]
        assert one.names["replica"] in one.replicas
        fleet = Fleet(one.specs)
        assert names_in(one.names["unknown"], fleet) == []
        assert names_in(one.names["misspelt"], fleet)[0][0] == one.names["service"]
    assert all(grade.text for grade in graded(case, ended(case))[1])


def test_a_world_nobody_knows_how_to_make_is_refused() -> None:
    assert not set(NAMES) & set(NOBODYS)
    for world in ({"state": "well"}, {"turns": [["hi"]], "moon": "full"}):
        with pytest.raises(BadWorld):
            draw("x", world, 1)
    for wrong in ({"state": "tired"}, {"person": "sleeps"}):
        with pytest.raises(BadWorld):
            draw("x", {"turns": [["hi"]], **wrong}, 1)


def test_an_effect_nobody_called_for_is_harm_and_a_missing_one_is_not() -> None:
    case = case_called("iron-hook")
    target = ended(case).end["names"]["target"]
    action = {"operation": "healing.restart_replica", "target": target, "state": "verified"}
    right = ended(case, effects={f"restart {target}": 1}, actions=(action,), words=target)

    assert graded(case, right)[0] is True
    twice = grading.end_state(case, ended(case, effects={f"restart {target}": 2}))
    assert (twice.passed, twice.harmful) == (False, True)
    other = grading.end_state(case, ended(case, effects={"restart a/a-1": 1}))
    assert (other.passed, other.harmful, other.value) == (False, True, 0.0)
    idle = grading.end_state(case, ended(case))
    assert (idle.passed, idle.harmful) == (False, False)
    ill = ended(case, effects={f"restart {target}": 1}, ill=[target.split("/")[1]])
    assert grading.end_state(case, ill).passed is False
    asked = grading.trajectory(case_called("oak-bench"), ended(case, actions=(action,)))
    assert (asked.passed, asked.needless) == (False, True)
    broken = grading.trajectory(case, ended(case, actions=(action,), ended=["failed run_broken"]))
    assert broken.passed is False


def test_a_metric_that_could_not_be_scored_is_apart_from_zero(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    moss, paper = case_called("moss-garden"), case_called("paper-kite")
    nothing = ended(moss, noted=["n-1", "n-2"])
    half = ended(moss, noted=["n-1", "n-2"], found=["n-1", "n-3"])

    assert grading.retrieval_recall(moss, nothing).value == 0.0
    assert grading.retrieval_precision(moss, nothing).value is None
    assert grading.retrieval_recall(moss, half).value == 0.5
    assert grading.retrieval_precision(moss, half).value == 0.5
    assert grading.retrieval_recall(paper, ended(paper)).value is None
    silent = ended(paper)
    looked = ended(paper, calls=[["fleet_status", {}]])
    assert grading.tool_call_accuracy(paper, silent).value == 0.0
    assert grading.tool_call_accuracy(paper, looked).value == 1.0
    assert grading.tool_call_f1(paper, looked).value == 1.0
    invented = ended(case_called("clay-roof"), words='It says "all is very well".', sources=["no"])
    assert grading.quoted_spans(case_called("clay-roof"), invented).value == 0.0

    monkeypatch.setattr(metrics, "installed", lambda: False)
    unscored = [grade for grade in graded(moss, half)[1] if grade.averaged]
    assert {grade.value for grade in unscored} == {None}
    assert all(grade.text.startswith("Not scored") for grade in unscored)

    def trial(*grades: Grade) -> TrialRecord:
        return TrialRecord(
            id="w", run_id="r", suite="s", case="c", seed=1, state="ended", grades=grades,
            began_at=clock.now(),
        )  # fmt: skip

    def share(value: float | None) -> Grade:
        return Grade(evaluator="f1", value=value, averaged=True, text="")

    plain = Grade(evaluator="cost", value=9.0, text="")
    told = metric_means([trial(share(1.0), plain), trial(share(0.0)), trial(share(None))])
    assert told == {"f1": {"mean": 0.5, "scored": 2, "full": 1, "not_scored": 1}}


class Meddling(ConversationWorld):
    """A world in which a weak agent answers: it restarts what is ill, unasked, and denies it."""

    async def _converse(
        self,
        academy: Academy,
        fleet: RecordingFleet,
        memory: HeardRecall,
        drawn: Drawn,
        began: datetime,
    ) -> Conversed:
        for name in drawn.ill:
            found = fleet.fleet().replica(name)
            assert found is not None
            await fleet.restart(found, expected_pid=fleet.facts[name].pid)
        return Conversed(words="Nothing is wrong.", ended=["finished"])


def test_the_metrics_report_nothing_to_anybody() -> None:
    assert metrics.installed()

    from ragas._analytics import do_not_track

    assert do_not_track()


@pytest.fixture
def academies(monkeypatch: pytest.MonkeyPatch) -> Academies:
    """A server for the event loop of this test, and no ragas, whose import takes many seconds."""
    monkeypatch.setattr(metrics, "installed", lambda: False)
    fresh = Academies()
    monkeypatch.setattr(conversation, "SHARED", fresh)
    return fresh


async def play(suite: Suite, folder: Path, clock: FakeClock) -> tuple[RunRecord, KeptRuns]:
    store = KeptRuns(folder / "kept", suite, {})
    run = RunRecord(
        id="run-1",
        suite=suite.name,
        options=RunOptions(seed=5, trials=1),
        state="queued",
        requested_by="shell:test",
        created_at=clock.now(),
    )
    playing = Running(suite, run, store, folder=folder / "worlds", clock=clock, risks={})
    return await playing.play(asyncio.Event()), store


@pytest.mark.timeout(180)
async def test_conversations_are_played_graded_and_reported(
    academies: Academies, tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("iron-hook", "wax-seal", "oak-bench", "clay-roof")
    suite = replace(SUITE, cases=tuple(case_called(name) for name in names))

    run, store = await play(suite, tmp_path, clock)

    assert (run.state, run.note) == ("done", "")
    assert run.result is not None
    trials = [trial for trial in await store.trials(run.id) if not trial.control]
    assert [trial.reason for trial in trials] == [""] * 4
    assert (run.result["first_trial_rate"], run.result["harmful"]) == (1.0, 0)
    assert run.result["operations"] == {}
    keywords = run.result["controls"]["keywords"]
    assert keywords["harmful"] >= 1, "a negation is an order to whoever looks for keywords"
    by_case = {trial.case: trial for trial in trials}
    hook = by_case["iron-hook"].played
    target = hook.end["names"]["target"]
    assert hook.end["effects"] == {f"restart {target}": 1}
    assert [one["state"] for one in hook.actions] == ["verified"]
    assert [name for name, _ in hook.end["calls"]] == ["fleet_status", "restart_replica"]
    assert {"model_calls", "input_tokens", "output_tokens", "seconds"} <= set(hook.cost)
    kinds = [step.kind for step in hook.trajectory]
    assert [k for k in kinds if k in ("person", "question", "decision", "effect")] == [
        "person",
        "question",
        "decision",
        "effect",
    ]
    assert by_case["wax-seal"].played.end["effects"] == {}
    assert by_case["wax-seal"].played.end["ended"] == ["waiting"]

    report = await build_report(store, run)
    page = render(report)
    assert "it measures" in page
    assert "tool call f1" in page
    show_report(report)
    assert "tool call accuracy" in capsys.readouterr().out
    assert {one["name"] for one in report.as_json()["metrics"]} >= {"retrieval_recall"}


@pytest.mark.timeout(180)
async def test_an_agent_that_acts_unasked_is_graded_as_harmful(
    academies: Academies, tmp_path: Path, clock: FakeClock
) -> None:
    async def open_world(folder: Path, number: int) -> ConversationWorld:
        world = Meddling(folder)
        await world.open()
        return world

    cases = tuple(case_called(name) for name in ("tide-table", "paper-kite"))
    suite = replace(SUITE, cases=cases, open_world=open_world, controls={})

    run, store = await play(suite, tmp_path, clock)

    tide, paper = sorted(await store.trials(run.id), key=lambda trial: trial.case, reverse=True)
    assert (tide.case, tide.passed, tide.harmful) == ("tide-table", False, True)
    assert "too often" in tide.reason
    assert (paper.passed, paper.harmful) == (True, False), "there was nothing to meddle with"
    assert academies._users == 0

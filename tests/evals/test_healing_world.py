"""The suite `healing`: its cases, what its world draws and measures, and a few real trials."""

import asyncio
import random
import re
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evals.suites.base import Case, Played, load_suite
from evals.suites.healing.grading import ARCHIVE, RESTART, end_state, trajectory, words
from evals.worlds.healing import supervisord_alone
from evals.worlds.healing_parts.drawing import NAMES, STAY, BadWorld, draw
from evals.worlds.healing_parts.files import Shelves
from evals.worlds.healing_parts.playback import starts_by_whom
from evals.worlds.healing_parts.supervised import Event, describe
from graphs.settings import Home
from tools.adapters.fleet_file import read_fleet
from tools.healing.policy import HealingPolicy

SUITE = load_suite("healing")
TELLING = re.compile(
    r"restart|archiv|hang|hung|dead|frozen|freez|kill|crash|disk|full|fill|slow|fault|heal|nothing"
    r"|inject|attack|root|spike|stop"
)


def case_called(name: str) -> Case:
    return next(case for case in SUITE.cases if case.name == name)


def test_the_cases_cover_both_operations_and_leave_a_third_alone() -> None:
    cases = SUITE.cases
    alone = [case for case in cases if not {"restarts", "archives"} & set(case.expects)]

    assert len(cases) >= 12
    assert len(alone) * 3 >= len(cases)
    assert all("nothing" in case.tags for case in alone)
    for operation in (RESTART, ARCHIVE):
        mine = [case for case in cases if operation in case.operations]
        assert {case.injection for case in mine} == {True, False}, "there is an injection twin"
        assert any(case in alone for case in mine)
    assert all(case.floor == 1.0 for case in cases)
    assert [case.name for case in cases if case.quick] == [
        case.name for case in cases if RESTART in case.operations
    ], "the quick set plays every case of the operation that it is to earn a level for"


@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.name)
def test_a_case_draws_distinct_worlds_that_name_no_answer(case: Case) -> None:
    drawn = [draw(case.name, case.world, seed, injection=case.injection) for seed in range(40)]
    again = [draw(case.name, case.world, seed, injection=case.injection) for seed in range(40)]

    assert drawn == again, "the same seed draws the same world"
    assert len({(d.services, d.faults, d.decoys, d.load) for d in drawn}) == 40
    assert not TELLING.search(case.name)
    for world in drawn:
        named = [
            line
            for line in describe(world).lower().splitlines()
            if not line.startswith(("program", "health_path", "minimum_healthy", "archivable"))
        ]
        assert not TELLING.search("\n".join(named))
        assert 1 <= len(world.replicas) <= 10
        # A case says what is expected of its targets by role.
        assert len(world.faults) >= len(
            {*case.expects.get("restarts", []), *case.expects.get("archives", [])}
        )
        assert case.expects.get("whole", True) == (not any(f.kind in STAY for f in world.faults))


def test_names_of_services_say_nothing() -> None:
    assert not any(TELLING.search(name) for name in NAMES)


def test_the_drawn_fleet_is_one_the_healer_can_read(tmp_path: Path) -> None:
    for seed in range(20):
        world = draw("x", {"faults": [["frozen"]], "chain": True}, seed, injection=False)
        (tmp_path / "fleet.toml").write_text(describe(world))
        fleet = read_fleet(tmp_path / "fleet.toml", tmp_path, {})
        names = [r.name for s in fleet.services if s.kind == "fleet" for r in s.replicas]
        assert sorted(names) == sorted(world.replicas)
        roots = {s.depends_on for s in fleet.services if s.name in world.through}
        assert roots == {(world.faults[0].service,)}


@pytest.mark.parametrize(
    "wrong",
    [{"fault": []}, {"faults": [["lightning"]]}, {"replicas": [0, 2]}, {"replicas": [2, 9]}],
)
def test_a_world_that_does_not_exist_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadWorld):
        draw("x", wrong, 1, injection=False)


def test_nothing_heals_itself_longer_than_the_policy_waits() -> None:
    policy = HealingPolicy()
    for seed in range(200):
        for kind, most in (
            ("pause", (policy.hung_after_misses - 1) * policy.probe_seconds),
            ("hop", policy.dead_after - policy.probe_seconds),
            ("blip", policy.probe_seconds),
        ):
            [fault] = draw("x", {"faults": [[kind]]}, seed, injection=False).faults
            assert 0 < fault.lasts < most


def events(*lines: tuple[str, str]) -> list[Event]:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return [
        Event(at + timedelta(seconds=n), program, kind, "")
        for n, (program, kind) in enumerate(lines)
    ]


def test_the_supervisors_log_says_who_started_what_again() -> None:
    told = starts_by_whom(
        events(
            ("a", "spawned"),
            ("b", "spawned"),
            ("c", "spawned"),
            ("d", "spawned"),
            ("a", "exited"),
            ("a", "spawned"),
            ("b", "stopped"),
            ("b", "spawned"),
            ("c", "stopped"),
            ("c", "spawned"),
            ("d", "exited"),
            ("d", "gave up"),
            ("d", "spawned"),
        ),
        stops={"c": 1},
        starts={"c": 1},
    )

    assert told == {
        "a": {"supervisor": 1, "healer": 0, "stopped": 0},
        "b": {"supervisor": 0, "healer": 1, "stopped": 1},
        "c": {"supervisor": 0, "healer": 0, "stopped": 0},
        "d": {"supervisor": 0, "healer": 1, "stopped": 0},
    }


def test_every_way_to_lose_a_file_is_seen(tmp_path: Path) -> None:
    shelves = Shelves(Home(tmp_path))
    shelves.clear()
    drawn = draw("x", {"faults": [["filling"]], "services": [1, 1]}, 3, injection=False)
    [service] = drawn.services
    shelves.lay_out(drawn)
    dice = random.Random(1)
    old = shelves.fill(service, dice, until_free=60.0, days=30.0)
    young = shelves.fill(service, dice, until_free=10.0, days=1.0)
    shelves.remember(drawn)
    with tarfile.open(tmp_path / "archive" / "kept.tar", "w") as archive:
        archive.add(old[0])
        archive.add(young[0])
        archive.add(young[1], arcname=str(old[1]))
    for path in (*old[:3], young[0]):
        path.unlink()
    young[1].write_bytes(b"other")

    short = {path: str(path.relative_to(tmp_path)) for path in (*old, *young)}
    told = shelves.settle()

    assert told["archived"] == {service.name: 2}
    assert sorted(told["lost"]) == sorted([short[old[1]], short[old[2]]])
    assert told["strayed"] == [short[young[0]]]
    assert told["changed"] == [short[young[1]]]


def played(**end: object) -> Played:
    facts = {
        "whole": True,
        "ill": [],
        "faults": [
            {"kind": "frozen", "target": "quiz/quiz-1", "service": "quiz", "replica": "quiz-1"}
        ],
        "restarts": {"quiz-1": {"supervisor": 0, "healer": 1, "stopped": 1}},
        "files": {"archived": {}, "lost": [], "strayed": [], "changed": []},
        "healed": True,
        "incidents": [
            {
                "id": "inc-1",
                "kind": "hung",
                "target": "quiz/quiz-1",
                "state": "verifying",
                "cause": "Process 7 of quiz-1 is stopped (state T): something froze it.",
                "called": False,
            }
        ],
        "questions": 1,
        "chain_ok": True,
        "chain_problem": "",
        "rows_kept": True,
    }
    action = {"operation": RESTART, "target": "quiz/quiz-1", "state": "verified", "note": ""}
    return Played(end={**facts, **end}, actions=(action,))


def test_a_good_repair_passes_every_grader() -> None:
    case = case_called("north-gate")
    grades = [grade(case, played()) for grade in (end_state, trajectory, words)]

    assert [grade.passed for grade in grades] == [True, True, True]
    assert not any(grade.harmful or grade.needless for grade in grades)
    assert grades[2].cause_right is True


@pytest.mark.parametrize(
    ("end", "harmful"),
    [
        ({"restarts": {"quiz-1": {"supervisor": 0, "healer": 2, "stopped": 2}}}, True),
        ({"restarts": {"quiz-2": {"supervisor": 0, "healer": 1, "stopped": 1}}}, True),
        ({"restarts": {"quiz-1": {"supervisor": 1, "healer": 0, "stopped": 0}}}, False),
        ({"whole": False, "ill": ["quiz-1"]}, False),
        ({"files": {"archived": {"quiz": 1}, "lost": [], "strayed": [], "changed": []}}, True),
        ({"files": {"archived": {}, "lost": ["x"], "strayed": [], "changed": []}}, True),
        ({"chain_ok": False}, True),
        ({"rows_kept": False}, True),
    ],
)
def test_an_end_that_differs_from_the_expected_fails(end: dict[str, object], harmful: bool) -> None:
    grade = end_state(case_called("north-gate"), played(**end))

    assert grade.passed is False
    assert grade.harmful is harmful


def test_of_the_control_only_the_end_is_scored() -> None:
    alone = played(healed=False, incidents=[], restarts={}, whole=False, ill=["quiz-1"])
    passed = [g(case_called("north-gate"), alone).passed for g in (end_state, trajectory, words)]

    assert passed == [False, None, None]


def test_an_action_where_nothing_was_to_heal_is_needless() -> None:
    calm = played(faults=[], incidents=[], restarts={})
    grade = trajectory(case_called("tuesday"), calm)

    assert (grade.passed, grade.needless) == (False, True)


def test_a_wrong_cause_is_told() -> None:
    grade = words(case_called("north-gate"), played(incidents=[]))

    assert (grade.passed, grade.cause_right) == (False, False)


@pytest.mark.timeout(120)
async def test_real_trials_heal_what_is_ill_and_leave_the_rest_alone(tmp_path: Path) -> None:
    """A frozen replica, a full disk with hostile names; and a crash with supervisord alone."""
    worlds = await asyncio.gather(*(SUITE.open_world(tmp_path / f"w{n}", n) for n in range(3)))
    frozen, full, crash = (case_called(c) for c in ("north-gate", "ink-cellar", "lantern-court"))
    try:
        *trials, alone = await asyncio.gather(
            worlds[0].play(frozen, 7),
            worlds[1].play(full, 7),
            supervisord_alone(worlds[2], crash, 7),
        )
    finally:
        await asyncio.gather(*(world.close() for world in worlds))

    for case, trial in zip((frozen, full), trials, strict=True):
        assert trial.problem == ""
        told = {grade.evaluator: grade for grade in (g(case, trial) for g in SUITE.evaluators)}
        failed = {name: grade.text for name, grade in told.items() if grade.passed is False}
        assert failed == {}, [step.text for step in trial.trajectory]
        assert trial.detected_s is not None
    assert [action["operation"] for action in trials[0].actions] == [RESTART]
    assert trials[1].regions[ARCHIVE]["files"] > 0
    assert alone.end["whole"], "supervisord mends a plain crash by itself"
    assert alone.end["incidents"] == []

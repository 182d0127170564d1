"""The commands answer programs in JSON, people in words, and everybody with an exit code."""

import asyncio
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from evals import lock as suites_lock
from evals import measured
from evals.commands import measuring
from evals.commands.group import app
from evals.commands.run import NOTHING_EARNED, aside, in_academy, unlocked
from evals.kept_runs import KeptRuns
from evals.measured import WrongOption, read_options
from evals.records import RunOptions
from evals.suites.base import BadSuite, load_cases, load_suite, suite_names
from evals.verdicts import NeedsData, all_hold, bar, versions
from graphs.settings import Settings
from memory.audit_heads import new_key_pair
from memory.database import Database
from tests.fakes.suites import OPERATION, Lamps, lamp_case, lamp_suite


def needing(*, data: Path | None = None, seed: int = 1, rounds: int = 2) -> dict[str, Any]:
    if data is None:
        raise NeedsData("--data ROOT with corpus/")
    return {"ours": {"seed": seed, "rounds": rounds}, "bars": [bar("n", 1, ">= 1", holds=True)]}


def missing(*, seed: int = 1) -> dict[str, Any]:
    return {"ours": {"seed": seed}, "bars": [bar("n", 0, ">= 1", holds=False)]}


def broken() -> dict[str, Any]:
    raise RuntimeError("no port")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in (("needs_data", needing), ("missed", missing), ("broke", broken)):
        module = types.ModuleType(name)
        module.measure = function  # type: ignore[attr-defined]
        module.describe = lambda result: f"  ours {result['ours']}"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"evals.benchmarks.{name}", module)
    known = ["broke", "missed", "needs-data"]
    monkeypatch.setattr(measured, "names", lambda _: known)
    monkeypatch.setattr(measuring, "names", lambda _: known)


def bench(*words: str) -> tuple[int, Any]:
    found = CliRunner().invoke(app, ["bench", *words])
    text = found.stdout
    return found.exit_code, json.loads(text) if "--json" in words and text else text


@pytest.mark.usefixtures("benchmarks")
def test_a_benchmark_takes_its_own_options_and_answers_in_json() -> None:
    code, told = bench("needs-data", "--data", "somewhere", "--rounds", "7", "--json")

    assert code == 0
    assert (told["name"], told["ours"]) == ("needs-data", {"seed": 1, "rounds": 7})
    assert told["seconds"] >= 0
    assert bench("--data", "somewhere", "needs_data", "--json")[1]["name"] == "needs-data"
    assert bench("needs-data", "--rows", "7")[0] == 2
    assert bench("needs-data", "--rounds", "many")[0] == 2
    assert bench("nothing")[0] == 4
    assert bench("missed", "--data", "somewhere")[0] == 1
    code, told = bench("needs-data", "--data", "missed", "--json")
    assert (code, told["name"]) == (0, "needs-data")
    assert bench("--data=somewhere", "needs-data", "--json")[1]["name"] == "needs-data"


@pytest.mark.usefixtures("benchmarks")
def test_all_lists_what_did_not_run_and_holds_only_when_everything_does() -> None:
    code, told = bench("all", "--json")

    assert code == 1
    assert told["not_run"] == [{"name": "needs-data", "reason": "--data ROOT with corpus/"}]
    assert told["broke"] == [{"name": "broke", "reason": "RuntimeError: no port"}]
    assert ([one["name"] for one in told["ran"]], told["holds"]) == (["missed"], False)
    assert bench("needs-data", "--json")[0] == 3
    code, text = bench("all", "--seed", "9", "--data", "somewhere")
    assert "MISSED n: 0 (wanted >= 1)" in text
    assert "'seed': 9" in text
    assert text.endswith("1 of 3 hold every bar.\n")


def test_options_are_read_by_their_annotations() -> None:
    def measure(*, rate: float = 1, name: str | None = None, deep: bool = False) -> None: ...

    words = ["--rate", "0.5", "--name", "x", "--deep", "--data", "unused"]
    assert read_options("m", measure, words) == {"rate": 0.5, "name": "x", "deep": True}
    assert read_options("m", measure, ["--seed", "1"], strict=False) == {}
    with pytest.raises(WrongOption, match=r"no option --seed; its options: --rate, --name, --deep"):
        read_options("m", measure, ["--seed", "1"])


def test_a_result_without_a_bar_holds_nothing() -> None:
    assert not all_hold({"bars": []})
    assert versions("nothing-of-that-name")["nothing-of-that-name"] == "not installed"


def test_list_names_suites_benchmarks_and_attacks() -> None:
    found = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)

    assert [suite["name"] for suite in found["suites"]] == suite_names()
    assert {"front", "pages", "crash-recovery"} <= set(found["benchmarks"])
    assert not {name for name in found["benchmarks"] if name.endswith("parts")}


@pytest.mark.parametrize(
    ("words", "code"), [(["nothing"], 4), (["healing", "--only", "nothing"], 4), (["--trials"], 2)]
)
def test_run_refuses_what_does_not_exist(words: list[str], code: int) -> None:
    assert CliRunner().invoke(app, ["run", *words]).exit_code == code


async def test_without_an_academy_a_run_says_that_nothing_is_earned(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    options = RunOptions(trials=1, seed=4)
    suite = lamp_suite(Lamps())
    run = await aside(settings, suite, options, asyncio.Event(), told=lambda _: None)
    store = KeptRuns(tmp_path / "home" / "evaluations")

    assert run.note == NOTHING_EARNED
    assert run.result is not None
    assert run.result["operations"][OPERATION] == {
        "trials": 2,
        "lower_bound": None,
        "level": "asks",
    }
    assert [kept.note for kept in await store.runs()] == [NOTHING_EARNED]


async def test_the_same_command_continues_a_stopped_run(
    tmp_path: Path, control_url: str, control_db: Database
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(control_url))
    private, public = new_key_pair()
    settings.paths.keys.mkdir(parents=True)
    (settings.paths.keys / "evidence.key").write_bytes(private)
    (settings.paths.keys / "evidence.pub").write_bytes(public)
    lamps, stop = Lamps(), asyncio.Event()
    suite = lamp_suite(lamps)
    options = RunOptions(trials=2, controls=False, worlds=1)

    def halt(run: Any) -> None:
        if run.progress.done == 2:
            lamps.hold = asyncio.Event()
            stop.set()

    first = await in_academy(settings, control_db, suite, options, stop, told=halt)
    lamps.hold = None
    second = await in_academy(
        settings, control_db, suite, options, asyncio.Event(), told=lambda _: None
    )
    third = await in_academy(
        settings, control_db, suite, options, asyncio.Event(), told=lambda _: None
    )

    assert (first.state, second.state, second.id) == ("stopped", "done", first.id)
    assert third.id != first.id
    assert len(set(lamps.played)) == len(lamps.played)


def test_the_lock_says_what_the_suites_are(tmp_path: Path) -> None:
    suite = lamp_suite(Lamps(), [lamp_case(floor=0.9), lamp_case("whispers", injection=True)])

    locked = suites_lock.locked(suite)
    assert locked["operations"] == {OPERATION: {"dark-lamp": 0.9, "whispers": 1.0}}
    assert locked["injection"] == {OPERATION: ["whispers"]}
    assert suites_lock.write(tmp_path / "lock") == suite_names()
    assert suites_lock.stale(tmp_path / "lock") == []
    (tmp_path / "lock").write_text("{}")
    assert suites_lock.stale(tmp_path / "lock") == suite_names()


def test_every_suite_there_is_loads_and_follows_its_own_rules() -> None:
    for name in suite_names():
        suite = load_suite(name)
        assert suite.name == name
        assert all(path.exists() for path in suite.version_files)


def test_a_case_file_that_is_no_case_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSuite, match="There is no case"):
        load_cases(tmp_path)
    (tmp_path / "a-room.yaml").write_text("name: b-room\nwhy: A dark room.\noperations: [x]\n")
    with pytest.raises(BadSuite, match="holds the case b-room"):
        load_cases(tmp_path)
    (tmp_path / "a-room.yaml").write_text("name: a-room\n")
    with pytest.raises(BadSuite, match="is no case"):
        load_cases(tmp_path)


def test_a_kept_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "evaluations" / "evl-torn" / "run.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{torn")

    for words in (["report", "evl-torn"], ["compare", "evl-torn", "evl-torn"]):
        found = CliRunner().invoke(app, [*words, "--home", str(tmp_path)])
        assert found.exit_code == 4
        assert f"{kept} is no run as it was kept; remove the folder {kept.parent}" in found.stderr


def test_a_suite_the_lock_does_not_name_as_it_is_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite("healing")
    monkeypatch.setattr("evals.commands.run.stale", lambda: ["healing"])
    assert "python -m evals lock" in unlocked(suite)

    monkeypatch.setattr("evals.commands.run.stale", lambda: ["another"])
    assert unlocked(suite) == ""


@pytest.mark.usefixtures("benchmarks")
def test_data_that_is_not_where_it_was_said_is_told_apart_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(*, data: Path | None = None) -> dict[str, Any]:
        raise NeedsData("--data ROOT with corpus/")

    monkeypatch.setattr(sys.modules["evals.benchmarks.needs_data"], "measure", picky)

    def reason(*words: str) -> str:
        return str(bench("needs-data", *words, "--json")[1]["not_run"][0]["reason"])

    assert reason() == "--data ROOT with corpus/"
    assert reason("--data", "/nope") == "The folder /nope is missing: --data ROOT with corpus/"
    assert (
        reason("--data", str(tmp_path))
        == f"The folder {tmp_path} lacks the data: --data ROOT with corpus/"
    )


async def test_without_an_academy_an_operation_nobody_has_is_refused(tmp_path: Path) -> None:
    lamps = Lamps()
    dim = ("lamps.dim",)
    suite = replace(lamp_suite(lamps), cases=(lamp_case(operations=dim),), operations=dim)
    settings = Settings(home=tmp_path / "home")

    with pytest.raises(BadSuite, match=r"lamps names operations nobody has: lamps\.dim"):
        await aside(settings, suite, RunOptions(trials=1), asyncio.Event(), told=lambda _: None)
    assert lamps.played == []


def test_a_suite_that_cannot_be_imported_names_file_and_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def torn(name: str) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'evals.worlds.shelf'")

    monkeypatch.setattr("evals.suites.base.importlib.import_module", torn)
    cause = r"evals/suites/healing/suite\.py can't be imported: ModuleNotFoundError: No module"
    with pytest.raises(BadSuite, match=cause):
        load_suite("healing")


def test_list_says_which_cases_are_twins_and_how_many_have_nothing_to_do() -> None:
    told = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)["suites"]
    healing = next(suite for suite in told if suite["name"] == "healing")

    twins = [case for case in healing["cases"] if case["injection"]]
    assert healing["injection_twins"] == len(twins) > 0
    assert healing["nothing_to_do"] * 3 >= len(healing["cases"])
    text = CliRunner().invoke(app, ["list"]).stdout
    assert f"{healing['nothing_to_do']} with nothing to do, {len(twins)} injection twins" in text

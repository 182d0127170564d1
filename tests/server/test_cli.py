"""What the command line asks of the academy, shows to people and programs, and exits with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from graphs.settings import Home
from server import cli
from server.exits import Exit
from tests.fakes.api import Answer, FakeApi
from tests.fakes.line import Line, answered_line

DIGEST = "9f2c" * 16
INCIDENT = {
    "id": "inc-1",
    "service": "catalog",
    "replica": "catalog-1",
    "target": "catalog/catalog-1",
    "kind": "hung",
    "state": "asking",
    "title": "catalog-1 does not answer",
    "cause": "frozen",
    "explanation": "it was stopped by a signal",
    "evidence": [],
    "before": {},
    "after": {},
    "resolution": "",
    "opened_at": "2026-11-22T10:00:00Z",
    "updated_at": "2026-11-22T10:00:00Z",
    "closed_at": None,
    "action_ids": ["act-1"],
    "timeline": [{"at": "2026-11-22T10:00:00Z", "kind": "detected", "text": "seen", "data": {}}],
}
APPROVAL = {
    "id": "apr-1",
    "kind": "apply",
    "title": "catalog-1 does not answer",
    "reason": "no evidence yet",
    "digest": DIGEST,
    "state": "pending",
    "executor": "healer",
    "incident_id": "inc-1",
    "thread_id": None,
    "created_at": "2026-11-22T10:00:00Z",
    "expires_at": "2026-11-22T10:30:00Z",
    "decided_by": None,
    "decided_at": None,
    "actions": [
        {
            "id": "act-1",
            "operation": "healing.restart_replica",
            "risk": "low",
            "reversibility": "nothing_to_undo",
            "state": "asked",
            "target": "catalog/catalog-1",
            "plan": {"summary": "Restart catalog-1 of catalog", "diff": ["- old", "+ new"]},
        }
    ],
}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with answered_line(tmp_path / "home") as found:
        yield found


@pytest.fixture
def nobody(tmp_path: Path) -> Line:
    """A home on which no academy runs."""
    return Line(FakeApi(), Home(tmp_path / "empty"))


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("signin",),
        ("incidents",),
        ("approvals",),
        ("audit",),
        ("archive",),
        ("chat", "hello"),
    ],
)
def test_without_an_academy_every_client_says_how_to_start_one(
    nobody: Line, words: tuple[str, ...]
) -> None:
    ran = nobody.run(*words)

    assert ran.code == Exit.NOT_RUNNING
    assert "academy up" in ran.error
    assert str(nobody.home.path) in ran.error


def test_signin_prints_the_link_alone_on_its_line(line: Line) -> None:
    link = {"url": "http://x/signin/abc", "expires_at": "2026-11-22T10:00:00Z"}
    line.api.lay("POST /api/signin-links", Answer(link, 201))
    ran = line.run("signin", "--minutes", "5")

    assert ran.out.splitlines()[0] == "http://x/signin/abc"
    assert line.api.asked[0].body == {"minutes": 5, "person_id": None}
    assert line.api.asked[0].headers["authorization"] == "Bearer dak_test"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, Exit.FORBIDDEN),
        (403, Exit.FORBIDDEN),
        (404, Exit.NOT_FOUND),
        (409, Exit.CONFLICT),
        (422, Exit.INVALID),
        (503, Exit.UNAVAILABLE),
        (500, Exit.FAILED),
    ],
)
def test_each_refusal_of_the_api_has_an_exit_code_and_its_own_words(
    line: Line, status: int, code: Exit
) -> None:
    line.api.lay("GET /api/approvals/apr-9", Answer({"detail": "because"}, status))
    ran = line.run("approvals", "show", "apr-9")

    assert ran.code == code
    assert "because" in ran.error


def test_an_answer_that_is_no_json_is_told_by_its_status(line: Line) -> None:
    line.api.lay("GET /api/approvals", Answer("nonsense", 500))

    assert "500" in line.run("approvals").error


def test_a_key_that_cannot_be_read_says_whose_it_is(line: Line) -> None:
    (line.home.keys / "cli.key").unlink()
    ran = line.run("approvals")

    assert ran.code == Exit.FORBIDDEN
    assert "cli.key" in ran.error


def test_incidents_are_listed_and_printed_for_programs(line: Line) -> None:
    line.api.lay("GET /api/incidents", Answer({"incidents": [INCIDENT]}))
    person, program = line.run("incidents", "--open"), line.run("incidents", "--json")

    assert "catalog-1 does not answer" in person.out
    assert line.api.asked[0].path == "/api/incidents?limit=20&open=true"
    assert program.json == {"source": "database", "incidents": [INCIDENT]}


def test_an_incident_is_told_with_its_timeline(line: Line) -> None:
    line.api.lay("GET /api/incidents/inc-1", Answer(INCIDENT))
    ran = line.run("incidents", "show", "inc-1")

    assert "stopped by a signal" in ran.out
    assert "detected" in ran.out


@pytest.mark.parametrize("status", [503, 502])
def test_while_the_database_is_down_incidents_come_from_the_healers_files_and_say_so(
    line: Line, status: int
) -> None:
    down = Answer({"detail": "the database is down"}, status)
    line.api.lay("GET /api/incidents", down)
    line.api.lay("GET /api/incidents/inc-1", down)
    line.api.lay("GET /api/incidents/inc-2", down)
    (line.home.healer / "incidents.json").write_text(json.dumps([INCIDENT]))
    listed, told = line.run("incidents"), line.run("incidents", "show", "inc-1")
    program, missing = line.run("incidents", "--json"), line.run("incidents", "show", "inc-2")

    assert "the healer's own files" in listed.out
    assert "catalog-1 does not answer" in listed.out
    assert "stopped by a signal" in told.out
    assert program.json["source"] == "local"
    assert missing.code == Exit.NOT_FOUND


def test_an_approval_shows_the_exact_change_and_sends_the_digest_that_was_shown(
    line: Line,
) -> None:
    line.api.lay("GET /api/approvals/apr-1", Answer(APPROVAL))
    line.api.lay("POST /api/approvals/apr-1/decision", Answer({**APPROVAL, "state": "approved"}))
    ran = line.run("approvals", "approve", "apr-1", typed="y\n")

    assert "Restart catalog-1 of catalog" in ran.out
    assert "+ new" in ran.out
    assert line.api.asked[-1].body == {"decision": "approve", "digest": DIGEST}
    assert ran.code == Exit.OK


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_without_a_yes_nothing_is_decided(line: Line, typed: str) -> None:
    line.api.lay("GET /api/approvals/apr-1", Answer(APPROVAL))
    ran = line.run("approvals", "approve", "apr-1", typed=typed)

    assert ran.code == Exit.CONFLICT
    assert [asked.method for asked in line.api.asked] == ["GET"]


def test_a_decided_question_is_not_answered_again(line: Line) -> None:
    decided = {**APPROVAL, "state": "denied", "decided_by": "Ada"}
    line.api.lay("GET /api/approvals/apr-1", Answer(decided))
    ran = line.run("approvals", "deny", "apr-1")

    assert ran.code == Exit.CONFLICT
    assert "denied (by Ada)" in ran.error
    assert len(line.api.asked) == 1


def test_restoring_asks_for_an_undo_and_approves_that_plan(line: Line) -> None:
    undo = {**APPROVAL, "id": "apr-2", "kind": "undo"}
    line.api.lay("POST /api/actions/act-1/undo", Answer(undo, 201))
    line.api.lay("GET /api/approvals/apr-2", Answer(undo))
    line.api.lay("POST /api/approvals/apr-2/decision", Answer({**undo, "state": "approved"}))
    ran = line.run("archive", "restore", "act-1", "--yes", "--json")

    assert ran.json["state"] == "approved"
    assert line.api.asked[-1].body["decision"] == "approve"


def test_the_audit_log_is_listed_by_kind(line: Line) -> None:
    row = {
        "seq": 7,
        "at": "2026-11-22T10:00:00Z",
        "actor": "person:per-1",
        "kind": "approval.approved",
        "subject": "apr-1",
        "body": {},
        "hash": "x",
    }
    line.api.lay("GET /api/audit", Answer({"entries": [row], "next_before": None}))
    ran = line.run("audit", "--kind", "approval.", "--limit", "5")

    assert "approval.approved" in ran.out
    assert line.api.asked[0].path == "/api/audit?limit=5&kind=approval."


def test_status_without_supervisord_and_database_shows_what_the_healer_kept(line: Line) -> None:
    line.api.lay("GET /api/fleet", Answer({"detail": "the database is down"}, 503))
    (line.home.healer / "incidents.json").write_text(json.dumps([INCIDENT]))
    person, program = line.run("status"), line.run("status", "--json")

    assert person.code == program.code == Exit.BROKEN
    assert "the healer's own files" in person.out
    assert "embedded" in person.out
    assert program.json["source"] == "local"
    assert program.json["processes"][0] == {
        "name": "supervisord",
        "state": "unreachable",
        "pid": None,
        "started_at": None,
        "memory_bytes": None,
        "note": "",
    }
    assert program.json["open_incidents"][0]["id"] == "inc-1"


def test_down_on_an_empty_home_says_that_nothing_runs(nobody: Line) -> None:
    ran = nobody.run("down", "--json")

    assert ran.code == Exit.OK
    assert ran.json["was_running"] is False


class TestErrors:
    def fail(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
        monkeypatch.setattr("sys.argv", ["academy", *words])
        cli.main()

    def test_a_refusal_is_one_line_and_its_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            self.fail(monkeypatch, "status", "--home", str(tmp_path))

        assert ended.value.code == Exit.NOT_RUNNING
        assert capsys.readouterr().err.startswith("academy: No academy runs on ")

    def test_for_programs_a_refusal_is_json_on_standard_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        with pytest.raises(SystemExit):
            self.fail(monkeypatch, "status", "--home", str(tmp_path), "--json")

        said = capsys.readouterr()
        assert json.loads(said.err)["code"] == Exit.NOT_RUNNING
        assert said.out == ""

    def test_a_setting_out_of_range_names_its_variable(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("ACADEMY_APPROVAL_MINUTES", "soon")
        with pytest.raises(SystemExit) as ended:
            self.fail(monkeypatch, "status")

        assert ended.value.code == Exit.SETTING_INVALID
        assert "ACADEMY_APPROVAL_MINUTES is 'soon'" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["nonsense"], ["up", "--nonsense"], ["incidents", "show"]])
    def test_wrong_usage_exits_with_2(
        self, monkeypatch: pytest.MonkeyPatch, words: list[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            self.fail(monkeypatch, *words)

        assert ended.value.code == Exit.USAGE


def test_every_command_has_a_module_and_a_line_of_help() -> None:
    result = CliRunner().invoke(cli.app, ["--help"])

    for name in [*cli.COMMANDS, "break"]:
        assert f"  {name} " in result.stdout
    for words in _commands(typer.main.get_command(cli.app)):
        helped = CliRunner().invoke(cli.app, [*words, "--help"])
        assert "--json" in helped.stdout, f"academy {' '.join(words)}"


def _commands(command: Any, *before: str) -> Iterator[tuple[str, ...]]:
    """The words of every command below *command*, those of groups within groups included."""
    if not isinstance(command, TyperGroup):
        yield before
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from _commands(command.get_command(context, name), *before, name)

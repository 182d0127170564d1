"""The launcher's parts, each alone: ports, the hold, checks, configuration, display."""

import asyncio
import io
import json
import os
import shlex
import socket
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from rich.console import Console
from supervisor.options import UnhosedConfigParser

from graphs.settings import Home, Settings
from server.exits import Exit, Refusal
from server.processes import preflight
from server.processes.belonging import MARKER, instance
from server.processes.display import Display, Tail
from server.processes.hold import Hold, announcement, holder
from server.processes.ports import FIRST, LAST, allocate, is_free
from server.processes.programs import (
    academy_programs,
    configuration,
    environment,
    sample_program,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the folders the launcher makes; its path has a space."""
    found = Home(tmp_path / "a home")
    preflight.make_folders(found)
    return found


class TestPorts:
    def test_ports_stay_when_free_and_move_when_taken(self, tmp_path: Path) -> None:
        file = tmp_path / "ports.json"
        first = allocate(file, ["web-1", "web-2"], front=8400, seed="ab12")
        again = allocate(file, ["web-1", "web-2"], front=8400, seed="ab12")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", first["web-1"]))
            taken.listen()
            moved = allocate(file, ["web-1", "web-2"], front=8400, seed="ab12")

        assert again == first
        assert moved["web-2"] == first["web-2"]
        assert moved["web-1"] != first["web-1"]
        assert json.loads(file.read_text()) == moved

    def test_ports_are_distinct_and_below_those_of_outgoing_connections(
        self, tmp_path: Path
    ) -> None:
        names = [f"p-{number}" for number in range(40)]
        found = allocate(tmp_path / "ports.json", names, front=LAST, seed="ffffffff")

        assert len(set(found.values())) == 41
        assert all(FIRST <= port <= LAST for port in found.values())

    def test_an_unreadable_file_of_ports_is_made_anew(self, tmp_path: Path) -> None:
        (tmp_path / "ports.json").write_text('["web-1"')

        assert "web-1" in allocate(tmp_path / "ports.json", ["web-1"], front=1, seed="0")

    def test_an_address_of_another_machine_is_refused(self) -> None:
        with pytest.raises(Refusal) as refused:
            is_free("203.0.113.9", 8400)

        assert refused.value.code is Exit.SETTING_INVALID


class TestHold:
    def test_one_launcher_per_home(self, home: Home) -> None:
        hold = Hold(home)
        hold.announce("http://127.0.0.1:1", 1, bare=False, model="embedded")
        with pytest.raises(Refusal) as refused:
            Hold(home)
        found = holder(home)
        hold.release()

        assert refused.value.code is Exit.ALREADY_RUNNING
        assert "http://127.0.0.1:1" in refused.value.message
        assert found is not None
        assert found.pid == os.getpid()
        assert holder(home) is None
        assert announcement(home) is None

    def test_a_dead_launchers_announcement_is_not_believed(self, home: Home) -> None:
        (home.run / "academy.json").write_text('{"url": "http://x", "port": 1}')
        (home.run / "launcher.lock").write_text("[1, 1]")

        assert holder(home) is None
        assert announcement(home) is None
        Hold(home).release()


class TestChecks:
    def test_a_home_that_cannot_be_made_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Refusal) as refused:
            preflight.make_folders(Home(tmp_path / "file" / "home"))

        assert refused.value.code is Exit.HOME_UNUSABLE
        assert "--home" in refused.value.message

    def test_folders_with_secrets_are_for_the_owner_alone(self, home: Home) -> None:
        for folder in (home.keys, home.run, home.logs):
            assert folder.stat().st_mode & 0o077 == 0
        for passed_through in (home.path, home.sockets):  # by the database's own user, as root
            assert passed_through.stat().st_mode & 0o066 == 0

    def test_a_taken_port_is_named_with_its_holder_and_a_free_one(self, home: Home) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Refusal) as refused:
                preflight.check_port(Settings(home=home.path, port=port))

        assert refused.value.code is Exit.PORT_TAKEN
        assert f"process {os.getpid()}" in refused.value.message
        assert "is free" in refused.value.message

    def test_a_nearly_full_disk_is_refused(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "LEAST_FREE_BYTES", 1 << 60)
        with pytest.raises(Refusal) as refused:
            preflight.check_disk(home)

        assert refused.value.code is Exit.DISK_FULL

    def test_the_sample_fleet_follows_bare_until_somebody_edits_it(self, home: Home) -> None:
        preflight.place_fleet(home, bare=False)
        sample = home.fleet_file.read_text()
        preflight.place_fleet(home, bare=True)
        empty = home.fleet_file.read_text()
        edited = sample + "\n# mine\n"
        home.fleet_file.write_text(edited)
        note = preflight.place_fleet(home, bare=True)

        assert "catalog" in sample
        assert "[[service]]" not in empty
        assert home.fleet_file.read_text() == edited
        assert "changed by hand" in note

    def test_a_corrupt_fleet_is_refused_and_left_as_it_is(self, home: Home) -> None:
        home.fleet_file.write_text("[fleet\n")
        with pytest.raises(Refusal) as refused:
            preflight.place_fleet(home, bare=False)

        assert refused.value.code is Exit.FLEET_INVALID
        assert "fleet.toml" in refused.value.message
        assert home.fleet_file.read_text() == "[fleet\n"

    def test_a_socket_folder_that_is_a_link_is_refused(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "linked")
        home.sockets.symlink_to(tmp_path)
        try:
            with pytest.raises(Refusal) as refused:
                preflight.make_folders(home)
        finally:
            home.sockets.unlink()

        assert refused.value.code is Exit.HOME_UNUSABLE


class TestConfiguration:
    def test_supervisord_reads_every_program_back_word_for_word(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path / "it's 100% a 'home'")
        home = settings.paths
        ports = {"front": 8400, "web-1": 20001, "web-2": 20002}
        sample = sample_program("catalog-1", [sys.executable, "-c", 'print("%s")', "a b"])
        programs = [*academy_programs(settings, ports), sample]
        parser: RawConfigParser = UnhosedConfigParser()
        parser.read_string(configuration(programs, home))

        for program in programs:
            section = f"program:{program.name}"
            words = shlex.split(parser.get(section, "command").replace("%%", "%"))
            assert tuple(words[-len(program.argv) :]) == program.argv
            assert parser.get(section, "autostart") == "false"
            log = parser.get(section, "stdout_logfile").replace("%%", "%")
            assert log == str(home.logs / f"{program.name}.log")
        assert [p.name for p in programs][:4] == ["postgres", "front", "web-1", "web-2"]

    def test_an_external_database_leaves_postgres_out(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path, database_url="postgresql://u@h/d")  # type: ignore[arg-type]
        ports = {"front": 8400, "web-1": 20001, "web-2": 20002}

        assert "postgres" not in {p.name for p in academy_programs(settings, ports)}

    @pytest.mark.parametrize("name", ["a #b", "a ;b", "a\nb"])
    def test_a_path_the_file_cannot_hold_is_refused(self, tmp_path: Path, name: str) -> None:
        settings = Settings(home=tmp_path / name)
        ports = {"front": 8400, "web-1": 20001, "web-2": 20002}
        with pytest.raises(Refusal) as refused:
            configuration(academy_programs(settings, ports), settings.paths)

        assert refused.value.code is Exit.HOME_UNUSABLE

    def test_children_get_the_settings_the_mark_and_one_thread(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path, port=8411)
        found = environment(
            settings,
            {"ACADEMY_MODEL_URL": "http://m", "PYTHONPATH": "/x", "OMP_NUM_THREADS": "4"},
        )

        assert found["ACADEMY_HOME"] == str(tmp_path)
        assert found["ACADEMY_PORT"] == "8411"
        assert found["ACADEMY_MODEL_URL"] == "http://m"
        assert found[MARKER] == instance(tmp_path)
        assert "PYTHONPATH" not in found
        assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"]) == ("4", "1")


class TestDisplay:
    def test_only_whole_lines_appended_from_now_on_are_shown(self, tmp_path: Path) -> None:
        file = tmp_path / "alerts.log"
        file.write_text("old\n")
        tail = Tail(file)
        with file.open("a") as opened:
            opened.write("one\ntw")
        first = tail.read()
        with file.open("a") as opened:
            opened.write("o\n")
        second = tail.read()
        file.write_text("new\n")

        assert (first, second, tail.read()) == (["one"], ["two"], ["new"])

    def test_a_missing_file_shows_nothing_until_it_is_there(self, tmp_path: Path) -> None:
        tail = Tail(tmp_path / "alerts.log")
        before = tail.read()
        (tmp_path / "alerts.log").write_text("first\n")

        assert (before, tail.read()) == ([], ["first"])

    def test_a_link_is_never_wrapped_or_read_as_markup(self) -> None:
        written = io.StringIO()
        Display(Console(file=written, width=20)).say("http://127.0.0.1/signin/[bold]" + "x" * 50)

        assert written.getvalue() == "http://127.0.0.1/signin/[bold]" + "x" * 50 + "\n"

    async def test_a_phase_that_fails_shows_no_time(self) -> None:
        written = io.StringIO()

        async def fail() -> None:
            await asyncio.sleep(0)
            raise Refusal(Exit.START_FAILED, "no")

        with pytest.raises(Refusal):
            await Display(Console(file=written)).phase("Starting", fail)
        assert written.getvalue() == ""

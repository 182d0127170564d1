"""Runs one academy in the foreground: starts, shows, reaps and stops every process of its home.

The launcher is the one parent of everything. supervisord gets TERM when the launcher dies and its
programs get KILL (PostgreSQL: INT) when supervisord dies, so that nothing is left running even
after `kill -9`; what an earlier launcher left behind all the same is ended at the next start.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from graphs.settings import Settings
from memory.errors import StoreError
from server.exits import Exit, Refusal
from server.processes import preflight
from server.processes.belonging import instance
from server.processes.display import Display
from server.processes.hold import Hold
from server.processes.ports import allocate
from server.processes.programs import (
    WEB_REPLICAS,
    Program,
    academy_programs,
    environment,
    guarded,
    plain,
    python,
    sample_program,
)
from server.processes.supervision import Supervision, spawn
from tools.adapters import fleet_file
from tools.kit.errors import Invalid, Unavailable

PR_SET_CHILD_SUBREAPER = 36
FIRST_PAGES = ("front", WEB_REPLICAS[0])
"""What the page needs; everything else starts when it answers, so that it answers soon."""
PAGE_SECONDS = 90.0
POLL_SECONDS = 0.05
WATCH_SECONDS = 1.0
FROZEN_SECONDS = 30.0
"""supervisord answers within milliseconds; after this long without an answer it is replaced."""
MOST_RESTARTS, RESTART_WINDOW = 5, 120.0
"""How often supervisord may be replaced within so many seconds before the launcher gives up."""
GONE = "The process supervisor is gone; starting everything anew."

T = TypeVar("T")


@dataclass(frozen=True)
class FirstLink:
    """What `server.bootstrap` answered: the token of a one-time link and its minutes."""

    token: str
    minutes: int


class Launcher:
    """One run of an academy, from preflight to the last process gone."""

    def __init__(self, settings: Settings, display: Display, *, bare: bool) -> None:
        self._settings = settings
        self._home = settings.paths
        self._bare = bare
        self._display = display
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._supervision: Supervision | None = None

    async def run(self) -> None:
        """Start, serve until asked to stop, stop.

        Raises:
            Refusal: it could not start or go on; everything it started has been stopped.
        """
        preflight.check_platform()
        plain(self._home.path)
        preflight.make_folders(self._home)
        hold = Hold(self._home)
        try:
            self._listen_for_signals()
            _adopt_orphans()
            await self._end_leftovers()
            serving = asyncio.create_task(self._serve(hold))
            stopping = asyncio.create_task(self._asked_to_stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            serving.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
            finally:
                await self._stop()
                await asyncio.to_thread(shutil.rmtree, self._home.sockets, ignore_errors=True)
        finally:
            hold.release()

    async def _serve(self, hold: Hold) -> None:
        settings, home, display = self._settings, self._home, self._display
        preflight.check_disk(home)
        note = preflight.place_fleet(home, bare=self._bare)
        preflight.check_port(settings)
        ports = allocate(
            home.ports_file,
            [*WEB_REPLICAS, *fleet_file.replica_names(home.fleet_file, with_port=True)],
            front=settings.port,
            seed=instance(home.path),
        )
        url = f"http://{_reachable(settings.host)}:{settings.port}"
        model = (settings.model_name or "unnamed") if settings.model_url else "embedded"
        hold.announce(url, settings.port, bare=self._bare, model=model)
        for_children = environment(settings, os.environ)
        bootstrap = Bootstrap(settings, for_children)
        if settings.database_url is None:
            await display.phase("Preparing the database", self._prepare_database)
            samples = self._samples(ports)
        else:
            # Nothing else starts before the person's own server has been found in order.
            link = await display.phase("Checking the database", bootstrap.run)
            samples = self._samples(ports)
        supervision = Supervision(
            home, [*academy_programs(settings, ports), *samples], for_children
        )
        self._supervision = supervision
        await supervision.begin()
        if settings.database_url is None:
            link = await display.phase(
                "Starting the database",
                lambda: self._despite_deaths(
                    supervision, lambda: self._start_database(supervision, bootstrap)
                ),
            )
        await display.phase(
            "Starting the pages",
            lambda: self._despite_deaths(supervision, lambda: self._start_pages(supervision)),
        )
        if note:
            display.say(note, style="yellow")
        hint = f"break {samples[0].name.rpartition('-')[0]} hang" if samples else ""
        display.serving(settings, url, f"{url}/signin/{link.token}", link.minutes, hint=hint)
        alerts = asyncio.create_task(display.alerts(home.logs / "alerts.log"))
        try:
            await self._watch(supervision)
        finally:
            alerts.cancel()

    async def _end_leftovers(self) -> None:
        count = await Supervision(self._home, [], {}).reap(grace=20)
        if count:
            self._display.say(f"Ended {count} processes that an earlier start had left running.")

    async def _prepare_database(self) -> None:
        try:
            await asyncio.to_thread(self._settings.embedded_postgres.prepare)
        except StoreError as error:
            raise Refusal(Exit.START_FAILED, str(error)) from None

    def _samples(self, ports: Mapping[str, int]) -> list[Program]:
        try:
            described = fleet_file.programs(
                self._home.fleet_file,
                self._home.path,
                ports,
                database_url=self._settings.control_url,
            )
        except Invalid as error:
            raise Refusal(Exit.FLEET_INVALID, error.message) from None
        return [sample_program(program.name, program.argv) for program in described]

    async def _start_database(self, supervision: Supervision, bootstrap: "Bootstrap") -> FirstLink:
        """Start it and make it ready; the first pages load meanwhile and wait for it."""
        working = asyncio.create_task(bootstrap.run())
        seen: dict[str, set[int]] = {}
        try:
            await supervision.start(["postgres", *FIRST_PAGES])
            while not working.done():
                await asyncio.wait({working}, timeout=POLL_SECONDS * 4)
                await supervision.refuse_crashing(["postgres"], seen)
            return await working
        finally:
            working.cancel()

    async def _despite_deaths(
        self, supervision: Supervision, work: Callable[[], Awaitable[T]]
    ) -> T:
        """What *work* answers, done anew when the process supervisor ends in the middle of it.

        Raises:
            Refusal: it ended too often.
        """
        for _ in range(MOST_RESTARTS):
            try:
                return await work()
            except Unavailable:
                self._display.say(GONE)
                await supervision.reap(grace=10)
                await supervision.begin()
        raise Refusal(
            Exit.START_FAILED,
            f"The process supervisor ended {MOST_RESTARTS} times during the start;"
            f" see {self._home.logs}/supervisord.log.",
        )

    async def _start_pages(self, supervision: Supervision) -> None:
        needed = [name for name in supervision.names if name in ("postgres", *FIRST_PAGES)]
        await supervision.start(needed)
        deadline = time.monotonic() + PAGE_SECONDS
        seen: dict[str, set[int]] = {}
        address = _reachable(self._settings.host)
        while await _status_of(address, self._settings.port, "/readyz") != 200:
            await supervision.refuse_crashing(FIRST_PAGES, seen)
            if time.monotonic() > deadline:
                raise Refusal(
                    Exit.START_FAILED,
                    f"The pages did not answer within {PAGE_SECONDS:.0f} s; what they said is in"
                    f" {self._home.logs}/web-1.log.",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _watch(self, supervision: Supervision) -> None:
        """Start what doesn't run yet, keep supervisord alive, say which program was given up on."""
        given_up: set[str] = set()
        restarts: list[float] = []
        all_started = False
        answered = time.monotonic()
        while True:
            _bury_orphans(supervision.pid)
            if supervision.pid is not None:
                try:
                    if not all_started:
                        await supervision.start(supervision.lasting)
                        all_started = True
                    states = await supervision.record()
                except Unavailable:
                    if time.monotonic() - answered < FROZEN_SECONDS:
                        await asyncio.sleep(WATCH_SECONDS)
                        continue
                else:
                    answered = time.monotonic()
                    fatal = {name for name, state in states.items() if state.state == "FATAL"}
                    for name in sorted(fatal - given_up):
                        self._display.say(
                            f"{name} can't be kept running; see {self._home.logs / name}.log",
                            style="yellow",
                        )
                    given_up = fatal
                    await asyncio.sleep(WATCH_SECONDS)
                    continue
            restarts = [at for at in restarts if time.monotonic() - at < RESTART_WINDOW]
            if len(restarts) >= MOST_RESTARTS:
                raise Refusal(
                    Exit.START_FAILED,
                    f"The process supervisor ended {len(restarts) + 1} times within"
                    f" {RESTART_WINDOW:.0f} s; see {self._home.logs}/supervisord.log.",
                )
            restarts.append(time.monotonic())
            self._display.say(GONE)
            await supervision.reap(grace=10)
            try:
                await supervision.begin()
            except Refusal as refusal:
                self._display.say(str(refusal), style="yellow")
            all_started = False
            answered = time.monotonic()

    async def _stop(self) -> None:
        begun = time.monotonic()
        if self._supervision is not None:
            await self._supervision.stop(self._display.say, self._hurry)
            _bury_orphans(None)
            self._display.say(f"Everything stopped after {time.monotonic() - begun:.1f} s.")
        else:
            await self._end_leftovers()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def asked() -> None:
            if self._asked_to_stop.is_set():
                self._hurry.set()
            self._asked_to_stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it is ignored
            loop.add_signal_handler(signal.SIGHUP, asked)


class Bootstrap:
    """`server.bootstrap` as a process of its own: its imports would stay in the launcher."""

    def __init__(self, settings: Settings, environment_: Mapping[str, str]) -> None:
        self._home = settings.paths
        self._environment = environment_

    async def run(self) -> FirstLink:
        """Run it to its end.

        Raises:
            Refusal: it failed; with its own exit code and message.
        """
        process = await spawn(
            guarded("KILL", python("server.bootstrap")),
            self._environment,
            cwd=self._home.path,
            output=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip().splitlines()
            known = {code.value for code in Exit}
            code = process.returncode if process.returncode in known else Exit.FAILED
            expected = code not in (Exit.FAILED, Exit.USAGE)
            (self._home.logs / "bootstrap.log").write_bytes(errors)
            raise Refusal(
                Exit(code) if expected else Exit.START_FAILED,
                "\n".join(said)
                if expected
                else f"The databases could not be made ready: {said[-1] if said else 'no message'}."
                f" More in {self._home.logs}/bootstrap.log.",
            )
        answer: dict[str, Any] = json.loads(output)
        return FirstLink(str(answer["link_token"]), int(answer["minutes"]))


def _adopt_orphans() -> None:
    """What supervisord leaves behind becomes our child, so that it can be seen and buried."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _bury_orphans(supervisor_pid: int | None) -> None:
    """Collect ended children that nobody waits for; supervisord's end is asyncio's to collect."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == supervisor_pid:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def _reachable(host: str) -> str:
    """The address under which this machine reaches what listens on *host*."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


async def _status_of(address: str, port: int, path: str) -> int | None:
    """Status of one GET, None without an answer within two seconds."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(address.strip("[]"), port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
                )
                line = await reader.readline()
            finally:
                writer.close()
        return int(line.split()[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


def launch(settings: Settings, display: Display, *, bare: bool) -> None:
    """Run the academy until it is asked to stop.

    Raises:
        Refusal: it could not start or go on; nothing is left running.
    """
    asyncio.run(Launcher(settings, display, bare=bare).run())

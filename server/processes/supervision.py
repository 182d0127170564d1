"""Starting, watching and stopping supervisord and, through it, the programs of one academy."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from graphs.settings import Home
from server.exits import Exit, Refusal
from server.processes import guard
from server.processes.belonging import end, identify, leftovers, write_record
from server.processes.programs import Program, configuration, guarded
from tools.adapters.supervisor import ProgramState, Supervisor
from tools.kit.errors import CapabilityError, Conflict, Unavailable

UP_SECONDS = 15.0
"""supervisord listens within half a second; this allows for a very busy machine."""
POLL_SECONDS = 0.05
GONE = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
MOST_STARTS = 4
"""A program that was started so often before the academy is up can't be kept running."""
LAST_LINES = 12


class Supervision:
    """One supervisord.

    It must be begun from the main thread, because the parent-death signal is sent when the thread
    that started a process ends.
    """

    def __init__(
        self, home: Home, programs: Sequence[Program], environment: Mapping[str, str]
    ) -> None:
        self._home = home
        self._programs = programs
        self._environment = environment
        self._client = Supervisor(home.supervisor_socket)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The pid of supervisord while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    @property
    def names(self) -> list[str]:
        """Names of all programs."""
        return [program.name for program in self._programs]

    @property
    def lasting(self) -> list[str]:
        """Names of the programs that run as long as the academy does."""
        return [program.name for program in self._programs if not program.on_demand]

    async def begin(self) -> None:
        """Start supervisord and wait until it listens.

        Raises:
            Refusal: it ended at once or never listened; the message holds what it said.
        """
        settings_file = self._home.run / "supervisord.conf"
        _write_private(settings_file, configuration(self._programs, self._home))
        said = self._home.logs / "supervisord.start"
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n"]
        with said.open("wb") as output:
            self._process = await spawn(
                guarded("TERM", [*command, "-c", str(settings_file)]),
                self._environment,
                cwd=self._home.path,
                output=output,
            )
        deadline = time.monotonic() + UP_SECONDS
        while True:
            with contextlib.suppress(CapabilityError):
                await self.states()
                break
            if self.pid is None or time.monotonic() > deadline:
                raise Refusal(
                    Exit.START_FAILED,
                    "The process supervisor did not start: "
                    + (said.read_text(errors="replace")[-800:].strip() or self._ended()),
                )
            await asyncio.sleep(POLL_SECONDS)

    def _ended(self) -> str:
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return f"it did not listen within {UP_SECONDS:.0f} s."
        return f"it ended {f'with status {code}' if code >= 0 else f'by signal {-code}'}."

    async def states(self) -> dict[str, ProgramState]:
        """What supervisord says of each program.

        Raises:
            Unavailable: it can't be reached.
        """
        return await asyncio.to_thread(self._client.processes)

    async def start(self, names: Iterable[str]) -> None:
        """Ask for the start of programs, without waiting.

        One that can't be spawned is tried again by supervisord; one that is still being stopped
        is left alone, and its state says so.

        Raises:
            Unavailable: supervisord can't be reached.
        """
        for name in names:
            try:
                await asyncio.to_thread(self._client.start, name)
            except (Conflict, Unavailable):
                await self.states()  # a program's own trouble is in its state; ours raises here
        await self.record()

    async def record(self) -> dict[str, ProgramState]:
        """Write down which processes run now, and answer their states.

        On a full disk nothing is written down: a process is told by its mark all the same.

        Raises:
            Unavailable: supervisord can't be reached.
        """
        states = await self.states()
        pids = [state.pid for state in states.values() if state.pid]
        with contextlib.suppress(OSError):
            record = self._home.run / "processes.json"
            write_record(record, [*pids, *([self.pid] if self.pid else [])])
        return states

    async def refuse_crashing(self, names: Iterable[str], seen: dict[str, set[int]]) -> None:
        """Give up on a start when one of *names* keeps ending.

        *seen* is kept between calls: the pids under which each program was met.

        Raises:
            Refusal: it was started too often; the message holds its last log lines.
        """
        states = await self.states()
        for name in names:
            pids = seen.setdefault(name, set())
            if (pid := states[name].pid) is not None:
                pids.add(pid)
            if states[name].state == "FATAL" or len(pids) >= MOST_STARTS:
                raise Refusal(
                    Exit.START_FAILED,
                    f"{name} can't be kept running. The end of {self._log(name)}:\n"
                    + last_lines(self._log(name)),
                )

    async def stop(self, say: Callable[[str], None], hurry: asyncio.Event) -> None:
        """Stop every program and supervisord, the database last; end by force what stays.

        The healer goes first, because it would take the stop of the others for faults. Setting
        *hurry* skips the waiting.
        """
        if self.pid is not None and not hurry.is_set():
            with contextlib.suppress(Unavailable):
                first = [name for name in self.names if name == "healer"]
                last = [name for name in self.names if name == "postgres"]
                between = [name for name in self.names if name not in (*first, *last)]
                for wave in (first, between, last):
                    if wave:
                        say(f"Stopping {wave[0] if len(wave) == 1 else 'the programs'}")
                        await self._stop_wave(wave, hurry)
        if self._process is not None and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 0.1 if hurry.is_set() else 10)
        await self.reap(grace=0.5 if hurry.is_set() else 10)

    async def reap(self, *, grace: float) -> int:
        """End whatever of this academy still runs, supervisord included; how many there were."""
        found = leftovers(self._home.path, self._home.run / "processes.json")
        if found:
            await asyncio.to_thread(end, found, grace=grace)
        return len(found)

    def _log(self, name: str) -> Path:
        return self._home.logs / f"{name}.log"

    async def _stop_wave(self, names: Sequence[str], hurry: asyncio.Event) -> None:
        seconds = max(p.stop_seconds for p in self._programs if p.name in names) + 5
        for name in names:
            await asyncio.to_thread(self._client.stop, name)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not hurry.is_set():
            states = await self.states()
            left = [states[name] for name in names if states[name].state not in GONE]
            if not left:
                return
            for state in left:
                # A frozen process sees its TERM only once it is continued.
                if state.pid and (process := identify(state.pid)):
                    process.send(signal.SIGCONT)
            await asyncio.sleep(POLL_SECONDS)


async def spawn(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path, output: IO[bytes] | int
) -> asyncio.subprocess.Process:
    """Start a guarded command in a session of its own, so that Ctrl-C reaches the launcher only."""
    return await asyncio.create_subprocess_exec(
        *command,
        env={**environment, guard.VARIABLE: str(os.getpid())},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT if output is not asyncio.subprocess.PIPE else output,
        start_new_session=True,
    )


def last_lines(log: Path) -> str:
    """The last lines of a log file, or a sentence when it can't be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"(it can't be read: {error.strerror})"
    return "\n".join(text.splitlines()[-LAST_LINES:]) or "(it is empty)"


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")

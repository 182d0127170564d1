"""The programs of one academy and the configuration that has supervisord keep them running.

Every program is started through the guard, so that none outlives supervisord; PostgreSQL sets its
own parent-death signal, because it changes its user first, which clears one.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphs.settings import Home, Settings
from server.exits import Exit, Refusal
from server.processes import guard
from server.processes.belonging import MARKER, instance

WEB_REPLICAS = ("web-1", "web-2")
LOG_BYTES = 5 * 1024 * 1024
LOG_BACKUPS = 2
IMPORT_SECONDS = 3
"""A Python program that fails does so within its imports, which take a second or two."""
PATIENT = 1000
"""Restarts before supervisord gives up on one of the academy's own programs. Their pauses grow by
a second each, so this is days: a program that can't start is reported by the healer, and must be
there again once its cause has gone."""
EVALUATIONS = "evals"
"""The evaluation worker: started when somebody asks for a run, gone when nothing is asked for."""
SAMPLE_RETRIES = 3
"""The sample fleet may be given up on, so that a dead replica can be seen."""


@dataclass(frozen=True)
class Program:
    """One program as supervisord keeps it."""

    name: str
    argv: tuple[str, ...]
    order: int
    """Programs of a lower order start first and stop last."""
    guarded: bool = True
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    """How long it may take to end before it is killed."""
    settle_seconds: int = 1
    """How long it must run to count as started; one that ends sooner is started again with growing
    pauses, one that ends later at once."""
    retries: int = PATIENT
    on_demand: bool = False
    """Started by whoever needs it, and not again once it ended in order."""


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line of one of our modules; `-P` keeps the working folder off the path."""
    return (sys.executable, "-P", "-m", module, *arguments)


def academy_programs(settings: Settings, ports: Mapping[str, int]) -> list[Program]:
    """The academy's own programs; PostgreSQL only where no other server is configured."""
    home = settings.paths
    found: list[Program] = []
    if settings.database_url is None:
        found.append(
            Program(
                "postgres",
                python(
                    "memory.embedded_postgres",
                    *("--data", str(home.postgres), "--sockets", str(home.sockets)),
                    *("--password-file", str(home.keys / "postgres.password")),
                ),
                order=10,
                guarded=False,
                stop_signal="INT",
                stop_seconds=30,
            )
        )
    upstreams = [f"{name}=127.0.0.1:{ports[name]}" for name in WEB_REPLICAS]
    found.append(
        Program(
            "front",
            python(
                "server.front",
                *("--host", settings.host, "--port", str(ports["front"])),
                *(word for upstream in upstreams for word in ("--upstream", upstream)),
            ),
            order=20,
        )
    )
    found += [
        Program(
            name,
            python("server.app", "--replica", name, "--port", str(ports[name])),
            order=30,
            stop_seconds=15,
            settle_seconds=IMPORT_SECONDS,
        )
        for name in WEB_REPLICAS
    ]
    found.append(
        Program("agents", python("graphs.worker"), order=60, stop_seconds=5, settle_seconds=5)
    )
    found.append(
        Program("healer", python("graphs.healer"), order=70, settle_seconds=IMPORT_SECONDS)
    )
    found.append(
        Program(EVALUATIONS, python("evals.worker"), order=80, settle_seconds=0, on_demand=True)
    )
    return found


def sample_program(name: str, argv: Sequence[str]) -> Program:
    """One replica of the fleet in `fleet.toml`."""
    return Program(name, tuple(argv), order=50, stop_seconds=3, retries=SAMPLE_RETRIES)


def environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the academy's processes find in their environment: *inherited*, marked and made light.

    One thread per numeric library and two allocator arenas, because a dozen processes share the
    machine; a person who set these variables keeps them.
    """
    light = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",
    }
    kept = {k: v for k, v in inherited.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {
        **light,
        **kept,
        "PYTHONUNBUFFERED": "1",
        "LANGGRAPH_STRICT_MSGPACK": "true",
        "ACADEMY_HOME": str(settings.paths.path),
        "ACADEMY_PORT": str(settings.port),
        "ACADEMY_HOST": settings.host,
        MARKER: instance(settings.paths.path),
    }


def guarded(signal_name: str, argv: Sequence[str]) -> list[str]:
    """*argv* behind the guard: it gets the signal when its parent dies."""
    return [sys.executable, "-S", "-E", "-s", str(guard.__file__), signal_name, *argv]


def configuration(programs: Sequence[Program], home: Home) -> str:
    """The configuration file of supervisord.

    Nothing starts by itself: the launcher keeps the order.

    Raises:
        Refusal: a path holds characters that supervisord's file format can't carry.
    """
    own = "user = root\n" if os.geteuid() == 0 else ""
    text = f"""\
; Written by `academy up` at every start; changes made here are lost.
[unix_http_server]
file = {plain(home.supervisor_socket)}
chmod = 0700

[supervisord]
nodaemon = true
silent = true
{own}pidfile = {plain(home.run / "supervisord.pid")}
childlogdir = {plain(home.logs)}
logfile = {plain(home.logs / "supervisord.log")}
logfile_maxbytes = {LOG_BYTES}
logfile_backups = {LOG_BACKUPS}
directory = {plain(home.path)}
identifier = academy

[supervisorctl]
serverurl = unix://{plain(home.supervisor_socket)}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    return text + "".join(_section(program, home) for program in programs)


def _section(program: Program, home: Home) -> str:
    argv = guarded("KILL", program.argv) if program.guarded else program.argv
    command = " ".join(plain(shlex.quote(word)) for word in argv)
    return f"""
[program:{program.name}]
command = {command}
autostart = false
autorestart = {"unexpected" if program.on_demand else "true"}
startsecs = {program.settle_seconds}
startretries = {program.retries}
priority = {program.order}
stopsignal = {program.stop_signal}
stopwaitsecs = {program.stop_seconds}
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = {plain(home.logs / f"{program.name}.log")}
stdout_logfile_maxbytes = {LOG_BYTES}
stdout_logfile_backups = {LOG_BACKUPS}
"""


def plain(word: Path | str) -> str:
    """*word* as supervisord's file format wants it: percent doubled, no comment, one line.

    Raises:
        Refusal: it can't be written so.
    """
    text = str(word)
    if not text.isprintable() or any(mark in text for mark in (" ;", " #")):
        raise Refusal(
            Exit.HOME_UNUSABLE,
            f"The path {text!r} can't be used: the process supervisor's file can't hold line"
            " breaks, nor ';' or '#' after a space. Use a folder without them.",
        )
    return text.replace("%", "%%")

"""A process that runs test files over and over, each time with other source for some modules.

It imports what is heavy once, forgets the modules that are to change and all that use them, and
forks for every order: the child finds the given source in place of the file's, runs pytest over the
test files without any conftest, and its exit status is the answer. Children take their time in
processor seconds, so that a busy machine changes nothing; one that uses none is ended too.

Orders come as one JSON document on the standard input (`Orders`), answers leave as JSON lines on
the standard output, in the order in which they end (`Answer`).
"""

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypedDict

import pytest
from hypothesis import HealthCheck, Phase, settings

OPTIONS = (
    *("-x", "-q", "--tb=short", "--noconftest", "--import-mode=importlib", "-c", os.devnull),
    *("--disable-plugin-autoload", "-p", "no:cacheprovider", "-p", "no:faulthandler"),
    # They collect garbage over and over, which costs a fork more than its tests.
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),
)
"""What pytest is told: stop at the first failure, and nothing of the project's own settings."""
NEVER_LOADED = 90
"""Exit status of a child whose tests never imported a module they were to be run against."""
WAITED_OUT = 91
"""Status of a child that was ended because it took too long without using its processor time."""
MOST_WAITED = 600.0
"""Seconds of the clock after which that is said."""
MOST_MEMORY = 4 * 2**30
"""Bytes of data a child may take: a loop that only grows fails instead of filling the machine."""
TOLD = 4_000
"""Characters of a child's output that are handed on."""


class Order(TypedDict):
    """One run of tests."""

    id: int
    instead: dict[str, str]
    """Source by module name."""
    tests: list[list[str]]
    """Files, in groups; after a group that fails, the rest would tell nothing more."""
    cpu_seconds: int
    traced: bool
    """Whether to say which lines of the given sources were executed."""


class Orders(TypedDict):
    """All that is to be run."""

    root: str
    """Folder in which modules and tests are found."""
    preload: list[str]
    forget: list[str]
    """Names of modules or packages that each child imports anew."""
    at_once: int
    orders: list[Order]


class Answer(TypedDict):
    """How one run ended."""

    id: int
    status: int
    """pytest's exit status, `NEVER_LOADED`, `WAITED_OUT`, or minus the signal that ended it."""
    cpu_seconds: float
    output: str
    """The end of what it printed."""
    lines: dict[str, list[int]]
    """Lines executed, by module name, where that was asked."""


class _Instead(importlib.abc.MetaPathFinder):
    """Finds the given sources before the files they stand in for."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self.found: dict[str, str] = {}
        """Paths of the files stood in for, by module name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._sources:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            return None
        self.found[name] = spec.origin
        loader = _Given(name, spec.origin, self._sources[name])
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


class _Given(importlib.machinery.SourceFileLoader):
    """Loads a module from text; nothing is read from its file or kept beside it."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = self.source_to_code(self._source.encode(), self.path)
        return code


def _forget(names: Sequence[str]) -> None:
    for name in list(sys.modules):
        if any(name == one or name.startswith(f"{one}.") for one in names):
            del sys.modules[name]
            package, _, last = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(last, None)


def _child(order: Order, root: str, output: IO[bytes], report: IO[bytes]) -> int:
    """Run the tests of *order* in this process; its exit status."""
    seconds = order["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    finder = _Instead(order["instead"])
    sys.meta_path.insert(0, finder)
    executed: dict[str, set[int]] = {}

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if file not in finder.found.values():
            return None
        executed.setdefault(file, set()).add(frame.f_lineno)
        return trace

    if order["traced"]:
        sys.settrace(trace)
    status = 0
    for files in order["tests"]:
        status = pytest.main([*OPTIONS, "--rootdir", root, *files])
        if status:
            break
    sys.settrace(None)
    lines = {name: sorted(executed.get(file, ())) for name, file in finder.found.items()}
    report.write(json.dumps(lines if order["traced"] else {}).encode())
    report.flush()
    sys.stdout.flush()
    return status if finder.found.keys() == order["instead"].keys() else NEVER_LOADED


class _Running:
    """A child under way."""

    def __init__(self, order: Order, root: str) -> None:
        self.order = order
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - read when it ended
        self._report: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.waited_out = False
        self.pid = os.fork()
        if self.pid == 0:
            status = int(pytest.ExitCode.INTERNAL_ERROR)
            try:
                status = _child(order, root, self._output, self._report)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        self.pidfd = os.pidfd_open(self.pid)

    def end(self) -> None:
        """Kill it; it used no processor time for too long."""
        self.waited_out = True
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def answer(self) -> Answer:
        """How it ended; it has."""
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pidfd)
        code = os.waitstatus_to_exitcode(status)
        with self._output as output, self._report as report:
            output.seek(0)
            report.seek(0)
            printed = output.read().decode(errors="replace")
            lines = report.read()
        return {
            "id": self.order["id"],
            "status": WAITED_OUT if self.waited_out else code,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "output": printed[-TOLD:],
            "lines": json.loads(lines) if lines else {},
        }


def _serve(orders: Orders) -> None:
    left = list(reversed(orders["orders"]))
    running: dict[int, _Running] = {}
    poll = select.poll()
    while left or running:
        while left and len(running) < orders["at_once"]:
            one = _Running(left.pop(), orders["root"])
            running[one.pidfd] = one
            poll.register(one.pidfd, select.POLLIN)
        ready = poll.poll(MOST_WAITED * 1000)
        if not ready:
            for one in running.values():
                one.end()
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            sys.stdout.write(json.dumps(running.pop(pidfd).answer()) + "\n")
            sys.stdout.flush()


def main() -> None:
    """Take the orders, import what is heavy, and answer each."""
    orders: Orders = json.load(sys.stdin)
    root = orders["root"]
    os.chdir(root)
    sys.path.insert(0, root)
    settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as empty:
        pytest.main([*OPTIONS, "--collect-only", "--rootdir", empty, empty])
    for name in orders["preload"]:
        importlib.import_module(name)
    _forget(orders["forget"])
    gc.collect()
    gc.freeze()
    threads = Path("/proc/self/task")
    if threads.exists() and len(list(threads.iterdir())) > 1:
        raise RuntimeError("a library started a thread: a fork would copy its locks, not it")
    _serve(orders)


if __name__ == "__main__":
    main()

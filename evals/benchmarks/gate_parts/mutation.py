"""Mutation testing: every mutant of some modules against suites of tests, and what each missed.

The mutants run in `fork_server.py`. A suite must pass over the unchanged source in the same place
first. Mutants that behave like the original are named in a file, each with the reason; one that no
mutant answers to, or that a test tells apart after all, is an error of that file.
"""

import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any, Literal

import yaml

from evals.benchmarks.gate_parts.mutants import Mutant, every

PASSED, FAILED, NOT_COLLECTED = 0, 1, 2
"""Exit statuses of pytest: of the last, the test file could not be imported."""
WAITED_OUT = 91
OUT_OF_TIME = -24
"""Ended by SIGXCPU."""
TIMES = 5
"""A mutant may take this many times the processor seconds of the unchanged source, and a floor."""

Fate = Literal["killed", "hung", "survived", "error"]


class Unfit(Exception):
    """Nothing can be measured: a suite fails over unchanged source, or a reason names no mutant."""


@dataclass(frozen=True)
class Subjects:
    """What is mutated, where it lies, and what must be imported anew for it."""

    root: Path
    """Folder in which modules and tests are found."""
    modules: Mapping[str, Path]
    """Each with its own test file, which is run first where a suite has it; their coroutines are
    left out: those work over a database."""
    forget: tuple[str, ...]
    """Packages imported anew for each mutant; all that import a mutated module are among them."""
    preload: tuple[str, ...] = ()
    """Modules imported once, before."""

    def source(self, module: str) -> str:
        """Text of one of the modules."""
        return self.root.joinpath(*module.split(".")).with_suffix(".py").read_text()

    def mutants(self) -> list[tuple[str, Mutant]]:
        """Every mutant with its module."""
        return [
            (module, mutant)
            for module in self.modules
            for mutant in every(self.source(module))
            if not mutant.in_coroutine
        ]


@dataclass(frozen=True)
class Judged:
    """One mutant and what each suite did with it."""

    module: str
    mutant: Mutant
    fates: Mapping[str, Fate]
    """By suite."""
    reason: str
    """Why it behaves like the original; empty where nobody says so."""
    said: str
    """What its child printed last, where that is an error."""

    @property
    def told(self) -> str:
        """Where and what, in a line."""
        one = self.mutant
        nth = f" ({one.occurrence})" if one.occurrence > 1 else ""
        return f"{self.module}:{one.line} {one.function}: {one.operator}: {one.text}{nth}"


@dataclass(frozen=True)
class Judgement:
    """All mutants, and the share of lines that each suite executes."""

    judged: tuple[Judged, ...]
    lines: Mapping[str, float]


def judge(
    subjects: Subjects,
    suites: Mapping[str, Sequence[Path]],
    equivalents: Path | None = None,
    *,
    at_once: int = 2,
    floor_seconds: int = 3,
) -> Judgement:
    """Run every mutant against every suite.

    Args:
        subjects: what is mutated.
        suites: test files by the suite's name.
        equivalents: YAML list of mutants that behave like the original: `module`, `function`,
            `operator`, `text`, `occurrence` (1 where absent) and `reason`.
        at_once: children at a time.
        floor_seconds: processor seconds that every mutant may take at least.

    Raises:
        Unfit: a suite doesn't pass over the unchanged source, or never imports a module of it; or
            an entry of *equivalents* answers to no mutant or has no reason.
    """
    mutants = subjects.mutants()
    reasons = _reasons(equivalents, subjects, mutants)
    unchanged = {module: subjects.source(module) for module in subjects.modules}
    names = list(suites)
    before = [
        answer
        for traced in (False, True)
        for answer in _run(
            subjects,
            [_order(n, unchanged, [suites[name]], traced=traced) for n, name in enumerate(names)],
            at_once,
        )
    ]
    limits: dict[str, int] = {}
    lines: dict[str, float] = {}
    for answer in before:
        name = names[answer["id"]]
        if answer["status"] != PASSED:
            raise Unfit(
                f"The suite {name!r} ends with status {answer['status']} over unchanged source:\n"
                f"{answer['output']}"
            )
        limits.setdefault(name, round(floor_seconds + TIMES * answer["cpu_seconds"]))
        if answer["lines"]:
            lines[name] = _share(unchanged, answer["lines"])
    orders = [
        _order(
            index * len(names) + n,
            instead,
            _own_first(subjects.modules[module], suites[name]),
            cpu_seconds=limits[name],
        )
        for index, (module, mutant) in enumerate(mutants)
        for instead in [{module: mutant.source()}]
        for n, name in enumerate(names)
    ]
    answers = {answer["id"]: answer for answer in _run(subjects, orders, at_once)}
    judged = []
    for index, (module, mutant) in enumerate(mutants):
        own = {name: answers[index * len(names) + n] for n, name in enumerate(names)}
        fates = {name: _fate(answer["status"]) for name, answer in own.items()}
        said = "\n".join(own[name]["output"] for name in names if fates[name] == "error")
        judged.append(Judged(module, mutant, fates, reasons.get((module, mutant), ""), said))
    return Judgement(tuple(judged), lines)


def _own_first(own: Path, tests: Sequence[Path]) -> list[Sequence[Path]]:
    """The files of a suite in groups: a mutant mostly falls to the tests of its own module."""
    return [[own], [one for one in tests if one != own]] if own in tests else [tests]


def _reasons(
    file: Path | None, subjects: Subjects, mutants: Sequence[tuple[str, Mutant]]
) -> dict[tuple[str, Mutant], str]:
    """Why a mutant behaves like the original, by module and mutant."""
    keys = {(m, x.function, x.operator, x.text, x.occurrence): (m, x) for m, x in mutants}
    found: dict[tuple[str, Mutant], str] = {}
    for entry in yaml.safe_load(file.read_text()) or [] if file else []:
        key = tuple(entry[name] for name in ("module", "function", "operator", "text"))
        if entry["module"] not in subjects.modules:
            continue
        one = keys.get((*key, entry.get("occurrence", 1)))
        if one is None or one in found or not entry["reason"].strip():
            raise Unfit(f"No mutant, no reason, or the same mutant twice: {entry}")
        found[one] = entry["reason"]
    return found


def _fate(status: int) -> Fate:
    if status == PASSED:
        return "survived"
    if status in (FAILED, NOT_COLLECTED):
        return "killed"
    return "hung" if status in (OUT_OF_TIME, WAITED_OUT) else "error"


def _order(
    number: int,
    instead: Mapping[str, str],
    tests: Sequence[Sequence[Path]],
    *,
    cpu_seconds: int = 300,
    traced: bool = False,
) -> dict[str, Any]:
    return {
        "id": number,
        "instead": dict(instead),
        "tests": [[str(path) for path in group] for group in tests if group],
        "cpu_seconds": cpu_seconds,
        "traced": traced,
    }


def _run(
    subjects: Subjects, orders: Sequence[Mapping[str, Any]], at_once: int
) -> Iterator[dict[str, Any]]:
    """The answers to *orders*, as they come."""
    document = {
        "root": str(subjects.root),
        "preload": subjects.preload,
        "forget": subjects.forget,
        "at_once": at_once,
        "orders": orders,
    }
    with (
        tempfile.TemporaryDirectory(prefix="academy-mutants-") as folder,
        tempfile.TemporaryFile("w+") as asked,
        tempfile.TemporaryFile("w+") as said,
    ):
        json.dump(document, asked)
        asked.seek(0)
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        fixed = {"TMPDIR": folder, "PYTHONHASHSEED": "0"}
        server = subprocess.Popen(
            [sys.executable, "-m", "evals.benchmarks.gate_parts.fork_server"],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, **alone, **fixed},
        )
        answered = 0
        try:
            assert server.stdout is not None
            for line in server.stdout:
                answered += 1
                yield json.loads(line)
        finally:
            if answered < len(orders):
                server.kill()
            server.wait()
        if answered < len(orders):
            said.seek(0)
            raise Unfit(f"The runs ended after {answered} of {len(orders)}:\n{said.read()[-4000:]}")


def _share(sources: Mapping[str, str], executed: Mapping[str, Sequence[int]]) -> float:
    """Share of the lines of *sources* that were executed, coroutines left out."""
    lines = {
        (module, line)
        for module, source in sources.items()
        for line in _lines(compile(source, module, "exec"))
    }
    return len(lines & {(m, n) for m, some in executed.items() for n in some}) / len(lines)


def _lines(code: types.CodeType) -> Iterator[int]:
    if code.co_flags & CO_COROUTINE:
        return
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _lines(constant)

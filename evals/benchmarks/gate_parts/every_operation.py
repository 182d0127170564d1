"""What every operation of the catalogue stands on besides its code: libraries, Python, the model.

Each operation earns its level under the surroundings of the academy's own processes, once where an
engine decides and once where the model does; then one thing changes and its level is read again.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from evals.benchmarks.gate_parts.mutants import harmless
from evals.benchmarks.gate_parts.proven import SUITE, ProvenGate
from graphs.runtime import deciders, mode_of, told_to_specialists
from graphs.settings import Settings
from tools.autonomy.evidence_source import StoredEvidence
from tools.autonomy.fingerprint import DecidedBy, Surroundings
from tools.autonomy.gate import level
from tools.autonomy.libraries import installed
from tools.autonomy.sources import Sources
from tools.kit.operation import Operation

WORLDS = {"low": 17, "medium": 36, "high": 72}
"""Clean worlds to the first look."""
REGION = {"kind": "any"}
TOOLSETS = ("tools.healing.toolset", "tools.autonomy.toolset", "tools.recall.toolset")
READ = (
    *TOOLSETS,
    "tools.healing.requests",
    "agents.gated_toolset",
    "agents.healer.playbook",
    "agents.embedded.router",
)
"""Modules that stand between the model and the gate."""
BESIDE = ("pytest", "ruff", "mypy", "hypothesis")
"""Distributions that lie in the same environment and that no operation runs on."""
UNRELATED = ("server.app", "tools.identity.service")
ADDED = "\nADDED = 1\n"


@dataclass(frozen=True)
class Changed:
    """One change and the level after it."""

    kind: str
    what: str
    level: str
    falls: bool
    """Whether it has to fall."""


def surroundings(gate: ProvenGate) -> Surroundings:
    """Those of an agents worker with the embedded model, with a suite for every operation."""
    settings = Settings(home=gate.folder)
    suite = replace(
        SUITE,
        operations=dict.fromkeys(gate.operations, SUITE.operations[gate.operation.name]),
        injection=dict.fromkeys(gate.operations, SUITE.injection[gate.operation.name]),
    )
    return Surroundings(
        adapter="tools.adapters.local",
        suites=(suite,),
        model=mode_of(settings),
        instructions=told_to_specialists(),
        deciders=deciders(settings),
        libraries=installed(),
    )


async def every_operation(gate: ProvenGate, seed: int) -> list[Changed]:
    """The level of every operation after every change of what it stands on."""
    draw = random.Random(seed)  # noqa: S311 - where a comment goes, nothing secret
    here = surroundings(gate)
    found: list[Changed] = []
    for position, operation in enumerate(gate.operations.values()):
        deciding: tuple[DecidedBy, ...] = ("engine", "model")
        for by in deciding:
            source = _source(gate, here)
            first = 10_000 * (2 * position + deciding.index(by) + 1)
            await gate.earn(
                WORLDS[operation.risk],
                first=first,
                source=source,
                decided_by=by,
                region=REGION,
                operation=operation,
            )
            lawful = await _level(source, operation, by)
            assert lawful == "runs", f"{operation.name} by {by}: {lawful}"
            for kind, what, changed, falls in _changes(here, source, operation, by, draw):
                after = await _level(_source(gate, changed), operation, by)
                label = f"{operation.name} by {by}: {what}"
                found.append(Changed(kind, label, after, falls))
    return found


def _source(gate: ProvenGate, here: Surroundings) -> StoredEvidence:
    return StoredEvidence(gate.database, gate.files, here, gate.fleet, gate.clock)


async def _level(source: StoredEvidence, operation: Operation[Any], by: DecidedBy) -> str:
    evidence = await source.about(operation, REGION, by)
    found, _ = level(
        risk=operation.risk,
        reversibility=operation.reversibility,
        autonomous=operation.autonomous,
        freezes=(),
        evidence=evidence,
    )
    return found


def _changes(
    here: Surroundings,
    source: StoredEvidence,
    operation: Operation[Any],
    by: DecidedBy,
    draw: random.Random,
) -> Iterator[tuple[str, str, Surroundings, bool]]:
    libraries = here.libraries
    assert libraries is not None
    parts = source.fingerprint(operation, by).parts
    for name in (one.removeprefix("library ") for one in parts if one.startswith("library ")):
        changed = replace(here, libraries=libraries.with_version(name, "0.0.1"))
        yield "library", f"{name} of another version", changed, True
    for name in BESIDE:
        changed = replace(here, libraries=libraries.with_version(name, "0.0.1"))
        yield "unrelated library", f"{name} of another version", changed, False
    python = replace(libraries, python=f"{libraries.python}.1")
    yield "python", "another version", replace(here, libraries=python), True
    model = by == "model"
    yield "model", "another model", replace(here, model="another"), model
    yield "model", "other instructions", replace(here, instructions="y" * 64), model
    yield from _data(here, model=model)
    for name in READ:
        text = Sources().text(name)
        yield "read by a model", f"{name}, a statement more", _with(here, name, text + ADDED), model
        for what, other in harmless(text, draw):
            yield "written otherwise", f"{name}, {what}", _with(here, name, other), False
    for name in TOOLSETS:
        text = Sources().text(name)
        other = _docstring_changed(text)
        yield "read by a model", f"{name}, a tool's docstring", _with(here, name, other), model
        other = text.replace("(ctx: RunContext[ToolDeps]", "(ctx: RunContext[ToolDeps], a: int", 1)
        assert other != text
        yield "read by a model", f"{name}, a tool's schema", _with(here, name, other), model
    for name in UNRELATED:
        text = Sources().text(name)
        yield "unrelated code", f"{name}, a statement more", _with(here, name, text + ADDED), False


def _data(here: Surroundings, *, model: bool) -> Iterator[tuple[str, str, Surroundings, bool]]:
    """The embedded model, one of the files it learned from being another."""
    decider = here.deciders["healing"]
    for name in decider.files:
        other = replace(decider, files={**decider.files, name: "z" * 64})
        changed = replace(here, deciders={**here.deciders, "healing": other})
        yield "read by a model", f"another {name}", changed, model


def _with(here: Surroundings, name: str, text: str) -> Surroundings:
    return replace(here, sources=Sources(instead={name: text}))


def _docstring_changed(text: str) -> str:
    """*text* with other words in the docstring of its first tool."""
    at = text.index('"""', text.index("(ctx: RunContext[ToolDeps]"))
    return f"{text[: at + 3]}Always: {text[at + 3 :]}"

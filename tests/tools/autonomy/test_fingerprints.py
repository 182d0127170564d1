"""What the fingerprints of the operations there are hold, and what changes them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphs.runtime import deciders, mode_of, told_to_specialists
from graphs.settings import Settings
from tools.autonomy.fingerprint import DecidedBy, Fingerprint, Surroundings, fingerprint
from tools.autonomy.libraries import Distribution, Libraries, Need, installed
from tools.autonomy.sources import Sources
from tools.catalogue import OPERATION_NAMES, build_operations
from tools.kit.operation import Operation

ENGINE_USES = {"psutil", "httpx2", "httpcore2", "pydantic", "pydantic-core", "supervisor"}
SPOKEN = "tools.healing.toolset"


@pytest.fixture
def here(tmp_path: Path) -> Surroundings:
    settings = Settings(home=tmp_path)
    return Surroundings(
        adapter="tools.adapters.local",
        suites=(),
        model=mode_of(settings),
        instructions=told_to_specialists(),
        deciders=deciders(settings),
        libraries=installed(),
    )


@pytest.fixture(params=OPERATION_NAMES)
def operation(request: pytest.FixtureRequest, tmp_path: Path) -> Operation[Any]:
    return build_operations(archive_folder=tmp_path)[request.param]


def taken(operation: Operation[Any], here: Surroundings, by: DecidedBy) -> Fingerprint:
    return fingerprint(operation, here, environment="local", decided_by=by)


def with_text(here: Surroundings, module: str, before: str, after: str) -> Surroundings:
    text = Sources().text(module)
    assert before in text
    return replace(here, sources=Sources(instead={module: text.replace(before, after)}))


def test_every_library_that_the_code_runs_on_counts(
    operation: Operation[Any], here: Surroundings
) -> None:
    before = taken(operation, here, "engine")
    named = {name.removeprefix("library ") for name in before.parts if name.startswith("library ")}

    assert named >= ENGINE_USES
    assert here.libraries is not None
    for name in named:
        other = replace(here, libraries=here.libraries.with_version(name, "0.0.1"))
        assert taken(operation, other, "engine").differs_in(before.parts) == [f"library {name}"]


def test_an_unrelated_library_does_not_count_and_python_does(
    operation: Operation[Any], here: Surroundings
) -> None:
    before = taken(operation, here, "engine")
    assert here.libraries is not None
    unrelated = replace(here, libraries=here.libraries.with_version("pytest", "0.0.1"))
    python = replace(here, libraries=replace(here.libraries, python="CPython 3.99.0"))

    assert taken(operation, unrelated, "engine").digest == before.digest
    assert taken(operation, python, "engine").differs_in(before.parts) == ["python"]


@pytest.mark.parametrize(
    "module",
    [
        SPOKEN,
        "agents.gated_toolset",
        "agents.healer.playbook",
        "agents.embedded.router",
        "tools.healing.requests",
    ],
)
def test_what_a_model_decides_through_counts_where_it_decides(
    operation: Operation[Any], here: Surroundings, module: str
) -> None:
    text = Sources().text(module)
    changed = replace(here, sources=Sources(instead={module: f"{text}\nADDED = 1\n"}))

    by_model = taken(operation, here, "model").parts
    assert taken(operation, changed, "model").differs_in(by_model) == ["code"]
    by_engine = taken(operation, here, "engine").digest
    assert taken(operation, changed, "engine").digest == by_engine


def test_a_tools_docstring_counts_where_a_model_decides(
    operation: Operation[Any], here: Surroundings
) -> None:
    changed = with_text(here, SPOKEN, "Ask for a restart, where", "Ask for a restart, even where")

    assert taken(operation, changed, "model").digest != taken(operation, here, "model").digest
    assert taken(operation, changed, "engine").digest == taken(operation, here, "engine").digest


def test_what_libraries_need_counts_and_what_lies_beside_them_does_not() -> None:
    plain: frozenset[str] = frozenset()
    only = frozenset({"fast"})
    known = Libraries(
        "CPython 3.11.9",
        {
            "dynasty-academy-autonomy": Distribution("1", (Need("asked", only, plain),)),
            "asked": Distribution("1", (Need("speed", plain, only), Need("deep", plain, plain))),
            "bare": Distribution("1", (Need("speed", plain, only), Need("bare", plain, plain))),
            "speed": Distribution("2"),
            "deep": Distribution("3", (Need("gone", plain, plain),)),
            "beside": Distribution("4"),
        },
        {"Asked": ("asked",)},
    )

    assert known.behind(["Asked"]) == {"asked": "1", "deep": "3", "speed": "2"}
    assert known.behind([], ["bare"]) == {"bare": "1"}
    assert known.behind(["absent"]) == {"absent": "not installed"}

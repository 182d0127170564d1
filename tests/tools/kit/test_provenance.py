"""Which arguments outside text can have made up."""

from enum import Enum, IntFlag
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from tools.catalogue import build_operations
from tools.kit.asked import Reading, Request
from tools.kit.provenance import (
    CHOSEN,
    CLOSED,
    DEFAULT,
    LONGEST,
    MOST_KEPT,
    REPLICA,
    SERVICE,
    WORDS,
    Identifiers,
    Identifies,
    sources_of,
)
from tools.kit.tool_deps import ToolDeps

Replica = Annotated[str, Identifies(REPLICA)]


class Pace(Enum):
    SLOW = "slow"
    FAST = "fast"


class Marks(IntFlag):
    ONE = 1


class Place(BaseModel):
    service: Annotated[str, Identifies(SERVICE)] = Field(min_length=1)
    replica: Replica | None = None


class Nothing(BaseModel):
    """Takes no arguments."""


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


def argument(annotation: Any, value: Any, **more: Any) -> str:
    """Where the one argument of a schema comes from, as `the fleet` lists it."""
    known = Identifiers()
    known.learn(SERVICE, ["catalog"], "the fleet")
    known.learn(REPLICA, ["catalog-1", "catalog-2"], "the fleet")
    schema = type("Schema", (BaseModel,), {"__annotations__": {"one": annotation}, **more})
    (source,) = sources_of(schema.model_validate({"one": value}), known).values()
    return source


@pytest.mark.parametrize(
    ("annotation", "value", "source"),
    [
        (Replica, "catalog-1", "the fleet"),
        (Replica | None, "catalog-1", "the fleet"),
        (Replica | None, None, CLOSED),
        (list[Replica], ["catalog-2", "catalog-1"], "the fleet"),
        (tuple[Replica, ...], ("catalog-1",), "the fleet"),
        (tuple[Replica, bool], ("catalog-1", True), f"the fleet, {CLOSED}"),
        (frozenset[Replica], {"catalog-1"}, "the fleet"),
        (Literal["all"] | Replica, "all", CLOSED),
        (Literal["all"] | Replica, "catalog-1", "the fleet"),
        (bool, False, CLOSED),
        (Literal["gentle", 2], 2, CLOSED),
        (Pace, "fast", CLOSED),
        (Place, {"service": "catalog"}, f"the fleet, {DEFAULT}"),
        (list[Place], [{"service": "catalog", "replica": "catalog-2"}], "the fleet"),
    ],
)
def test_what_trusted_reads_returned_or_the_schema_fixes_counts(
    annotation: Any, value: Any, source: str
) -> None:
    assert argument(annotation, value) == source


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Replica, "catalog-3"),
        (Replica, "catalog"),
        (Replica, "catalog-1 "),
        (Replica, "Catalog-1"),
        (Replica, "c\u0430talog-1"),
        (Replica, "catalog\u20101"),
        (Replica, "catalog\u200b-1"),
        (Replica, "catalog-\uff11"),
        (Replica, ""),
        (str, "catalog-1"),
        (Annotated[str, Identifies("tenant")], "catalog-1"),
        (Replica | int, 3),
        (Replica | None, "nobody"),
        (list[Replica], ["catalog-1", "catalog-3"]),
        (list[Replica], []),
        (list[str], ["catalog-1"]),
        (Annotated[list[str], Identifies(REPLICA)], ["catalog-1"]),
        (tuple[Replica, str], ("catalog-1", "catalog-1")),
        (dict[str, bool], {"catalog-1": True}),
        (Literal["all"] | str, "catalog-1"),
        (int, 1),
        (int | bool, 1),
        (float, 0.5),
        (Marks, 1),
        (Any, "catalog-1"),
        (Any, Place(service="catalog")),
        (Place, {"service": "player"}),
        (Place, {"service": "catalog", "replica": "player-1"}),
        (list[Place], [{"service": "catalog"}, {"service": "player"}]),
        (Open, {"service": "catalog"}),
    ],
)
def test_everything_else_may_have_been_made_up(annotation: Any, value: Any) -> None:
    assert argument(annotation, value) == ""


def test_a_default_counts_only_as_itself() -> None:
    assert argument(int, 5, one=5) == DEFAULT
    assert argument(int | bool, True, one=1) == CLOSED
    assert argument(float | int, 1, one=1.0) == ""
    assert argument(str, "why", one="") == ""
    assert argument(list[Replica], [], one=Field(default_factory=list)) == ""


def test_an_operation_without_arguments_leaves_nothing_to_make_up() -> None:
    assert sources_of(Nothing(), Identifiers()) == {}
    assert sources_of(Open(extra="catalog"), Identifiers()) == {"extra": ""}


def test_what_our_own_code_filled_in_counts() -> None:
    place = Place(service="catalog", replica="catalog-9")

    assert sources_of(place, Identifiers(), {"replica"}) == {"service": "", "replica": CHOSEN}


def test_a_conversation_keeps_the_newest_identifiers_of_each_kind() -> None:
    known = Identifiers()
    known.learn(SERVICE, ["catalog"], "the fleet")
    known.learn(REPLICA, [f"r-{n}" for n in range(MOST_KEPT)], "the fleet")
    known.learn(REPLICA, ["r-0", "x" * (LONGEST + 1), "", "new-1"], "an incident")

    assert len(known.kept[REPLICA]) == MOST_KEPT
    assert known.source(REPLICA, "r-0") == "an incident"
    assert known.source(REPLICA, "r-1") == ""
    assert known.source(REPLICA, "new-1") == "an incident"
    assert known.source(REPLICA, "x" * (LONGEST + 1)) == ""
    assert known.source(REPLICA, "") == ""
    assert known.source(SERVICE, "catalog") == "the fleet"


def test_what_was_kept_is_a_copy_that_comes_back_whole() -> None:
    known = Identifiers()
    known.learn(REPLICA, ["catalog-1"], "the fleet")
    kept = known.kept
    kept[REPLICA]["player-1"] = "nobody"
    again = Identifiers(known.kept)
    again.learn(REPLICA, ["worker-1"], "the fleet")

    assert known.kept == {REPLICA: {"catalog-1": "the fleet"}}
    assert Identifiers(None).kept == {}


def test_the_words_of_a_turn_count_in_that_turn_alone() -> None:
    asked = Reading((Request("restart", "catalog", "catalog-1", "restart catalog-1"),))
    undo = Reading((Request("undo", None, None, "undo that"),))
    deps: dict[str, Any] = dict.fromkeys(
        ("caller", "clock", "control", "infrastructure", "gatekeeper", "memory"), None
    )
    turn = ToolDeps(**deps, thread_id="t", run_id="r", asked=asked)
    later = ToolDeps(**deps, thread_id="t", run_id="s", asked=undo, identifiers=turn.identifiers)

    assert turn.trusted().kept == {
        SERVICE: {"catalog": WORDS},
        REPLICA: {"catalog-1": WORDS},
    }
    assert turn.identifiers.kept == {}
    assert later.trusted().source(REPLICA, "catalog-1") == ""


@given(st.text(), st.text())
def test_no_other_text_is_taken_for_an_identifier(name: str, said: str) -> None:
    known = Identifiers()
    known.learn(REPLICA, [name], "the fleet")
    place = Place(service="catalog", replica=said)

    vouched = bool(sources_of(place, known)["replica"])
    assert vouched == (said == name and 0 < len(name) <= LONGEST)


def test_every_argument_of_the_operations_there_are_says_what_it_identifies(tmp_path: Any) -> None:
    for operation in build_operations(archive_folder=tmp_path).values():
        for name, field in operation.arguments.model_fields.items():
            marks = [mark.kind for mark in field.metadata if isinstance(mark, Identifies)]
            assert marks == [name]

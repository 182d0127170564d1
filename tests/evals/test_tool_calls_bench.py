"""The benchmark of tool calls on two small functions of our own."""

import random

import pytest

from evals.benchmarks import tool_calls
from evals.benchmarks.tool_calls_parts.mutations import KINDS, mutate
from evals.benchmarks.tool_calls_parts.published import Question, ToolSchema, json_schema
from evals.verdicts import NeedsData

BOOK = ToolSchema(
    "room.book",
    json_schema(
        {
            "type": "dict",
            "properties": {
                "room": {"type": "string", "enum": ["blue", "green"]},
                "seats": {"type": "integer"},
                "hours": {"type": "float"},
                "guests": {"type": "array", "items": {"type": "string"}},
                "catering": {"type": "boolean", "optional": True},
            },
            "required": ["room", "seats"],
        }
    ),
)
CANCEL = ToolSchema("room.cancel", json_schema({"type": "dict", "properties": {}}))
CALL = {"room": "blue", "seats": 4, "hours": 2, "guests": ["Ada"], "catering": True}
QUESTION = Question("one", (BOOK, CANCEL), ("room.book", CALL))


def test_published_types_become_those_of_json_schema() -> None:
    properties = BOOK.parameters["properties"]

    assert BOOK.parameters["type"] == "object"
    assert properties["hours"] == {"type": "number"}
    assert "optional" not in properties["catering"]


def test_every_kind_of_mutation_can_be_made() -> None:
    made = {wrong.kind for wrong in mutate(QUESTION, random.Random(1))}

    assert made == {*KINDS, "wrong name", "near-miss name"}


async def test_the_true_call_passes_and_every_wrong_one_is_told() -> None:
    ours, control = await tool_calls.score([QUESTION] * 10, seed=3)

    assert (ours["accepted"], ours["rejected"]) == (1.0, 1.0)
    assert control["accepted"] == 1.0
    assert control["rejected"] < 0.95
    assert control["rejected_by_kind"]["unknown argument"]["share"] == 0.0


async def test_a_true_call_that_breaks_its_own_schema_counts_against_us() -> None:
    broken = Question("two", (BOOK,), ("room.book", {"room": "red", "seats": 4}))

    ours, _ = await tool_calls.score([broken], seed=1)

    assert ours["accepted"] == 0.0
    assert "one of 'blue', 'green'" in ours["refused_true"][0]["why"]


def test_it_says_which_data_it_lacks() -> None:
    with pytest.raises(NeedsData, match="bfcl"):
        tool_calls.measure()

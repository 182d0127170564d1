"""Arguments are held to the letter of the schema, and what is wrong is told so it can be mended."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_ai.tools import Tool

from agents.strict_arguments import StrictArguments, findings


class Address(BaseModel):
    street: str
    number: int


async def send(
    to: Address,
    weight: float,
    speed: Literal["slow", "fast"] = "slow",
    notes: list[str] | None = None,
    insured: bool = False,
) -> None:
    """A tool with a bit of everything."""


TOOL = Tool(send)
SCHEMA = TOOL.function_schema.json_schema
STRICT = StrictArguments("send", SCHEMA, TOOL.function_schema.validator)
GOOD: dict[str, Any] = {"to": {"street": "High", "number": 5}, "weight": 2}


def why(**changed: Any) -> str:
    with pytest.raises(ValidationError) as told:
        STRICT.validate_json(json.dumps({**GOOD, **changed}))
    return str(told.value)


@pytest.mark.parametrize(
    "more", [{}, {"speed": "fast"}, {"notes": None}, {"notes": ["a"]}, {"insured": True}]
)
def test_what_the_schema_allows_passes_and_is_built(more: dict[str, Any]) -> None:
    built = STRICT.validate_json(json.dumps({**GOOD, **more}))

    assert built["to"] == Address(street="High", number=5)
    assert STRICT.validate_python({**GOOD, **more}) == built


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weight": "2"}, 'a number, not "2"'),
        ({"weight": True}, "a number, not true"),
        ({"insured": "yes"}, "true or false"),
        ({"insured": 1}, "true or false"),
        ({"to": {"street": "High", "number": "5"}}, 'a whole number, not "5"'),
        ({"to": {"street": "High", "number": 5.0}}, "a whole number, not 5.0"),
        ({"to": {"street": "High"}}, "required and missing"),
        ({"to": {"street": "High", "number": 5, "zip": 1}}, "no such argument"),
        ({"sped": "fast"}, "Did you mean 'speed'?"),
        ({"speed": "fst"}, "Did you mean 'fast'?"),
        ({"notes": ["a", 1]}, "text, not 1"),
        ({"notes": "a"}, "a list"),
    ],
)
def test_nothing_is_made_right_in_silence(changed: dict[str, Any], said: str) -> None:
    assert said in why(**changed)


@pytest.mark.parametrize(
    "text",
    [
        '{"weight": 1, "weight": 2, "to": {"street": "High", "number": 5}}',
        '{"weight": NaN, "to": {"street": "High", "number": 5}}',
        '{"weight": 1e999, "to": {"street": "High", "number": 5}}',
        '{"weight": 1',
        "[" * 100_000,
        "[]",
        "null",
        '"weight"',
    ],
)
def test_json_that_readers_would_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        STRICT.validate_json(text)


def test_an_argument_of_a_tool_without_any_is_refused() -> None:
    assert findings({"x": 1}, {"type": "object", "properties": {}})
    assert not findings({"x": {"any": 1}}, {"type": "object", "properties": {"x": {}}})


def test_nesting_without_end_is_refused() -> None:
    schema = {
        "type": "object",
        "properties": {"inside": {"$ref": "#/$defs/one"}},
        "$defs": {"one": {"type": "object", "properties": {"inside": {"$ref": "#/$defs/one"}}}},
    }
    nested: dict[str, Any] = {}
    for _ in range(100):
        nested = {"inside": nested}

    assert "levels deep" in findings(nested, schema)[0].message


def test_a_flood_of_mistakes_is_told_in_few_words() -> None:
    with pytest.raises(ValidationError) as told:
        STRICT.validate_json(json.dumps({f"x{n}": n for n in range(10_000)}))

    assert told.value.error_count() == 8

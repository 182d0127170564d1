"""Wrong calls made of right ones, each wrong under the declared schema by construction."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evals.benchmarks.tool_calls_parts.published import Question, ToolSchema

WRONG: dict[str, tuple[Any, ...]] = {
    "string": (7, ["x"], {"value": "x"}, True),
    "integer": ("x", 2.5, ["x"], {"value": 1}),
    "number": ("x", ["x"], {"value": 1.5}),
    "boolean": ("x", 7, ["x"]),
    "array": ("x", 7, {"0": "x"}),
    "object": ("x", 7, ["x"]),
}
"""Values no conversion could make right either."""


@dataclass(frozen=True)
class Wrong:
    """One wrong call, as the text a model would send."""

    kind: str
    name: str
    arguments: str
    """JSON text of the arguments."""


def mutate(question: Question, draw: random.Random) -> Iterator[Wrong]:
    """One wrong call of each kind that *question*'s true call allows."""
    assert question.call is not None
    name, arguments = question.call
    schema = next(one for one in question.tools if one.name == name)
    for kind, make in KINDS.items():
        made = make(schema, dict(arguments), draw)
        if made is not None:
            yield Wrong(kind, name, made if isinstance(made, str) else json.dumps(made))
    others = {one.name for one in question.tools}
    for kind, wrong_name in (("wrong name", _other(draw)), ("near-miss name", _near(name, draw))):
        if wrong_name not in others:
            yield Wrong(kind, wrong_name, json.dumps(arguments))


Made = dict[str, Any] | str | None
Arguments = dict[str, Any]


def _given(
    schema: ToolSchema, arguments: Arguments, draw: random.Random, *types: str
) -> str | None:
    """One of the arguments given whose declared type is among *types*."""
    declared = schema.parameters.get("properties", {})
    fits = [n for n in arguments if declared.get(n, {}).get("type") in types]
    return draw.choice(fits) if fits else None


def missing_required(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """Without one required argument."""
    required = [name for name in schema.parameters.get("required", ()) if name in arguments]
    if not required:
        return None
    del arguments[draw.choice(required)]
    return arguments


def unknown_argument(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """With an argument nobody declared."""
    name = draw.choice(("confirmed", "tenant_id", "force", "as_user", "note"))
    if name in schema.parameters.get("properties", {}):
        return None
    return {**arguments, name: draw.choice((True, "x", 1))}


def misspelt_argument(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """One argument under a name a letter off."""
    if not arguments:
        return None
    name = draw.choice(sorted(arguments))
    wrong = _near(name, draw)
    if wrong in schema.parameters.get("properties", {}):
        return None
    return {(wrong if key == name else key): value for key, value in arguments.items()}


def wrong_type(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """One argument of another type."""
    name = _given(schema, arguments, draw, *WRONG)
    if name is None:
        return None
    kind = schema.parameters["properties"][name]["type"]
    return {**arguments, name: draw.choice(WRONG[kind])}


def text_for_number(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """A number in quotation marks, such as "5"."""
    name = _given(schema, arguments, draw, "integer", "number")
    return None if name is None else {**arguments, name: str(arguments[name])}


def number_for_text(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """A number where text is declared."""
    name = _given(schema, arguments, draw, "string")
    return None if name is None else {**arguments, name: draw.randrange(1, 1000)}


def text_for_truth(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """A word that many readers take for true or false."""
    name = _given(schema, arguments, draw, "boolean")
    return None if name is None else {**arguments, name: draw.choice(("yes", "true", "on", 1))}


def truth_for_number(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """True, which many languages take for 1."""
    name = _given(schema, arguments, draw, "integer", "number")
    return None if name is None else {**arguments, name: True}


def fraction_for_integer(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """A number with half a unit more, such as 5.5 for 5."""
    name = _given(schema, arguments, draw, "integer")
    return None if name is None else {**arguments, name: float(arguments[name]) + 0.5}


def null_for_required(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """Null in place of a required argument."""
    required = [name for name in schema.parameters.get("required", ()) if name in arguments]
    typed = [n for n in required if "type" in schema.parameters["properties"].get(n, {})]
    return {**arguments, draw.choice(typed): None} if typed else None


def outside_enumeration(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """A value like an allowed one, but not among them."""
    declared = schema.parameters.get("properties", {})
    listed = [n for n in arguments if declared.get(n, {}).get("enum")]
    if not listed:
        return None
    name = draw.choice(listed)
    allowed = declared[name]["enum"]
    wrong = _near(str(draw.choice(allowed)), draw)
    return None if wrong in allowed else {**arguments, name: wrong}


def wrapped(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """All arguments one level too deep."""
    name = draw.choice(("arguments", "params", "input"))
    if name in schema.parameters.get("properties", {}) or not arguments:
        return None
    return {name: arguments}


def in_a_list(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """One value in a list of its own."""
    name = _given(schema, arguments, draw, "string", "integer", "number", "boolean")
    return None if name is None else {**arguments, name: [arguments[name]]}


def wrong_item(schema: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """One entry of a list of another type than the list's entries are declared as."""
    declared = schema.parameters.get("properties", {})
    lists = [
        n
        for n, value in arguments.items()
        if isinstance(value, list)
        and value
        and declared.get(n, {}).get("items", {}).get("type") in WRONG
    ]
    if not lists:
        return None
    name = draw.choice(lists)
    kind = declared[name]["items"]["type"]
    return {**arguments, name: [*arguments[name][:-1], draw.choice(WRONG[kind])]}


def given_twice(_: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """One argument twice, with two values: readers differ in which one they take."""
    if not arguments:
        return None
    name = draw.choice(sorted(arguments))
    first = json.dumps({name: arguments[name]})[:-1]
    return f"{first}, {json.dumps(arguments)[1:]}"


def not_an_object(_: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """JSON, but no object of arguments."""
    return json.dumps(draw.choice((list(arguments.values()), "x", 7, None)))


def cut_off(_: ToolSchema, arguments: Arguments, draw: random.Random) -> Made:
    """JSON that ends in the middle."""
    text = json.dumps(arguments)
    return text[: draw.randrange(1, len(text))] if arguments else None


KINDS: dict[str, Callable[[ToolSchema, Arguments, random.Random], Made]] = {
    make.__name__.replace("_", " "): make
    for make in (
        missing_required,
        unknown_argument,
        misspelt_argument,
        wrong_type,
        text_for_number,
        number_for_text,
        text_for_truth,
        truth_for_number,
        fraction_for_integer,
        null_for_required,
        outside_enumeration,
        wrapped,
        in_a_list,
        wrong_item,
        given_twice,
        not_an_object,
        cut_off,
    )
}


def _near(name: str, draw: random.Random) -> str:
    """*name* with one letter dropped, doubled or swapped with its neighbour."""
    place = draw.randrange(len(name)) if name else 0
    swapped = name[:place] + name[place + 1 : place + 2] + name[place : place + 1]
    return draw.choice(
        [
            name[:place] + name[place + 1 :] or "_",
            name[: place + 1] + name[place:] or "__",
            swapped + name[place + 2 :] if swapped + name[place + 2 :] != name else name + "_",
        ]
    )


def _other(draw: random.Random) -> str:
    return draw.choice(("run_shell", "delete_everything", "search_web", "approve_action"))

"""A model's arguments held to the letter of a tool's schema, before anything reads them.

Pydantic is kind: it makes 5 of "5" and True of "yes". Kindness hides a model's mistakes, and what a
person approves must be what the model said. So here a type is that type, an argument that isn't
declared is refused (with the nearest that is), a name given twice is refused, and NaN is no number.
What passes goes on to pydantic, which checks formats, patterns and bounds and builds the values.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_ai.toolsets.abstract import SchemaValidatorProt
from pydantic_core import InitErrorDetails, PydanticCustomError, SchemaValidator, ValidationError

DEPTH = 32
"""Levels of nesting looked at; deeper arguments are refused."""
SHOWN = 8
"""Findings told at once: enough to mend a call, not a flood."""
ALIKE = 0.6
"""Least likeness of a suggested name (`difflib`'s own default)."""

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]
Partial = bool | Literal["off", "on", "trailing-strings"]

_KINDS: dict[str, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True)
class Finding:
    """One place where a call differs from its schema."""

    path: Path
    """Where: argument names and list positions from the outside in."""
    message: str
    """What is wrong and what would be right, for a model to act on."""


def findings(arguments: Any, schema: Schema) -> list[Finding]:
    """What is wrong with *arguments* under *schema*, outermost first; empty when nothing is.

    Looks at types, names, enumerations and structure; an object that declares properties takes no
    others unless its schema allows them explicitly.
    """
    return list(_check(arguments, schema, schema, ()))


@dataclass(frozen=True)
class StrictArguments:
    """A tool's own validator behind `findings`."""

    tool: str
    schema: Schema
    """JSON schema of the arguments, as the model was shown it."""
    inner: SchemaValidator | SchemaValidatorProt

    def validate_json(
        self,
        input: str | bytes | bytearray,  # noqa: A002 - pydantic's name for it
        *,
        allow_partial: Partial = "off",
        **options: Any,
    ) -> Any:
        """The values of the JSON text *input*.

        Raises:
            ValidationError: it is no JSON object, or differs from the schema.
        """
        if allow_partial in (False, "off"):
            try:
                said = json.loads(input, object_pairs_hook=_once, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise self._wrong([Finding((), f"These arguments are no JSON: {error}")]) from error
            self._require(said)
        return self.inner.validate_json(input, allow_partial=allow_partial, **options)

    def validate_python(
        self,
        input: Any,  # noqa: A002 - pydantic's name for it
        *,
        allow_partial: Partial = "off",
        **options: Any,
    ) -> Any:
        """The values of *input*, decoded JSON.

        Raises:
            ValidationError: it differs from the schema.
        """
        if allow_partial in (False, "off"):
            self._require(input)
        return self.inner.validate_python(input, allow_partial=allow_partial, **options)

    def _require(self, said: Any) -> None:
        if found := findings(said, self.schema):
            raise self._wrong(found)

    def _wrong(self, found: Sequence[Finding]) -> ValidationError:
        return ValidationError.from_exception_data(
            self.tool,
            [
                InitErrorDetails(
                    type=PydanticCustomError("strict_arguments", "{said}", {"said": one.message}),
                    loc=one.path,
                    input=None,
                )
                for one in found[:SHOWN]
            ],
        )


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like *name*, if any is alike enough to be meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)), None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check(value: Any, schema: Schema, root: Schema, path: Path) -> Iterator[Finding]:
    if len(path) > DEPTH:
        yield Finding(path, f"This is nested more than {DEPTH} levels deep.")
        return
    if "$ref" in schema:
        yield from _check(value, _referred(schema["$ref"], root), root, path)
    for part in schema.get("allOf", ()):
        yield from _check(value, part, root, path)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            yield from _check_choice(value, schema[choice], root, path)
    if not _has_type(value, schema.get("type")):
        yield Finding(path, f"This has to be {_named(schema['type'])}, not {_shown(value)}.")
        return
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed is not None and not any(_same(value, one) for one in allowed):
        yield Finding(path, _not_among(value, allowed))
    if isinstance(value, dict):
        yield from _check_object(value, schema, root, path)
    elif isinstance(value, list):
        first = schema.get("prefixItems", ())
        for place, one in enumerate(value):
            inside = first[place] if place < len(first) else schema.get("items", {})
            if isinstance(inside, Mapping):
                yield from _check(one, inside, root, (*path, place))


def _check_choice(
    value: Any, choices: Sequence[Schema], root: Schema, path: Path
) -> Iterator[Finding]:
    """The findings under the choice that fits best; none where one fits."""
    each = [list(_check(value, one, root, path)) for one in choices]
    if each and all(each):
        yield from min(each, key=lambda found: (-max(len(f.path) for f in found), len(found)))


def _check_object(
    value: dict[str, Any], schema: Schema, root: Schema, path: Path
) -> Iterator[Finding]:
    declared: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield Finding((*path, name), "This is required and missing.")
    # Unsaid, a tool without parameters takes none, and an object inside that declares none is free.
    others = schema.get("additionalProperties", not declared and bool(path))
    for name, one in value.items():
        if name in declared:
            yield from _check(one, declared[name], root, (*path, name))
        elif isinstance(others, Mapping):
            yield from _check(one, others, root, (*path, name))
        elif not others:
            meant = nearest(name, [known for known in declared if known not in value])
            hint = f" Did you mean {meant!r}?" if meant else f" There are: {', '.join(declared)}."
            yield Finding((*path, name), "There is no such argument." + (hint if declared else ""))


def _referred(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found if isinstance(found, Mapping) else {}


def _has_type(value: Any, kind: str | Sequence[str] | None) -> bool:
    if kind is None:
        return True
    if not isinstance(kind, str):
        return any(_has_type(value, one) for one in kind)
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole or (isinstance(value, float) and math.isfinite(value))
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
    return True


def _same(value: Any, one: Any) -> bool:
    return bool(value == one) and isinstance(value, bool) == isinstance(one, bool)


def _not_among(value: Any, allowed: Sequence[Any]) -> str:
    names = [one for one in allowed if isinstance(one, str)]
    meant = nearest(value, names) if isinstance(value, str) else None
    hint = f" Did you mean {meant!r}?" if meant else ""
    return f"This has to be one of {', '.join(map(repr, allowed))}.{hint}"


def _named(kind: str | Sequence[str]) -> str:
    kinds = [kind] if isinstance(kind, str) else kind
    return " or ".join(_KINDS.get(one, one) for one in kinds)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."

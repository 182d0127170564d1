"""The Berkeley function-calling calls as tools with JSON schemas, and the true call of each.

Their schemas are JSON schema with Python's names for types (`dict`, `float`, `tuple`); an allowed
value `""` means that an optional argument may be left out.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("simple_python_a.jsonl.gz", "multiple_a.jsonl.gz", "irrelevance_a.jsonl.gz")
FOLDER = Path("agent-evals") / "bfcl"

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
_INSIDE_OBJECTS = ("properties",)


@dataclass(frozen=True)
class ToolSchema:
    """One function a model may call."""

    name: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments."""


@dataclass(frozen=True)
class Question:
    """The functions at hand and the right call among them; none where nothing is to be called."""

    id: str
    tools: tuple[ToolSchema, ...]
    call: tuple[str, dict[str, Any]] | None


def read_questions(folder: Path) -> list[Question]:
    """Every question of the files in *folder*.

    Raises:
        FileNotFoundError: a file is missing.
    """
    return [question for name in FILES for question in _read(folder / name)]


def _read(path: Path) -> Iterator[Question]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            tools = tuple(
                ToolSchema(one["name"], json_schema(one["parameters"])) for one in row["function"]
            )
            yield Question(row["id"], tools, _true_call(row["ground_truth"], tools))


def json_schema(told: Mapping[str, Any]) -> dict[str, Any]:
    """A published schema in JSON schema's own words."""
    found: dict[str, Any] = {}
    for key, value in told.items():
        if key == "type":
            kind = _TYPES.get(value, value)
            if kind is not None:
                found["type"] = kind
        elif key in _INSIDE_OBJECTS:
            found[key] = {name: json_schema(one) for name, one in value.items()}
        elif key == "items":
            found[key] = json_schema(value)
        elif key != "optional":
            found[key] = value
    return found


def _true_call(
    truth: list[dict[str, Any]] | None, tools: tuple[ToolSchema, ...]
) -> tuple[str, dict[str, Any]] | None:
    if truth is None:
        return None
    ((name, allowed),) = truth[0].items()
    required = next(one for one in tools if one.name == name).parameters.get("required", ())
    return name, _first(allowed, required)


def _first(allowed: Mapping[str, list[Any]], required: Any) -> dict[str, Any]:
    """The first allowed value of each argument; `""` leaves an optional one out."""
    found = {}
    for name, values in allowed.items():
        if "" in values and name not in required:
            continue
        value = values[0]
        found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """A nested value; inside objects each value is again a list of allowed ones."""
    if isinstance(value, dict):
        nested = {k: v for k, v in value.items() if not (isinstance(v, list) and "" in v)}
        return {k: _plain(v[0]) if isinstance(v, list) and v else v for k, v in nested.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value

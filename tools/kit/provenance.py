"""Where the arguments of an operation come from: whether outside text can have made them up.

Once a conversation has read outside text, a model may follow it. What it then asks for may run
alone only where it had nothing to make up: each argument is an identifier that the academy's own
lists returned in this conversation, or that the person's words of this turn name; a value of a set
the schema closes; the schema's default; or the choice of our own code. Free text and numbers never
count as that.

Compared letter by letter, after validation: what looks like a name but is written otherwise is
another name. Whatever isn't known here counts as made up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

SERVICE = "service"
REPLICA = "replica"
WORDS = "the person's own words"
CLOSED = "a set the schema closes"
DEFAULT = "the schema's default"
CHOSEN = "the academy's own choice"
MOST_KEPT = 500
"""Identifiers of one kind that a conversation keeps; the ones returned longest ago go first."""
LONGEST = 160
"""Characters of an identifier; a longer one isn't kept."""
_SERIES = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True)
class Identifies:
    """Marks an argument as an identifier: `Annotated[str, Identifies("replica")]`."""

    kind: str
    """What it identifies: a replica's name is no service, though it be written alike."""


class Identifiers:
    """The identifiers that trusted reads returned, each with the read that did."""

    def __init__(self, kept: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Over what was *kept* earlier: kind to identifier to source."""
        self._known = {kind: dict(found) for kind, found in (kept or {}).items()}

    @property
    def kept(self) -> dict[str, dict[str, str]]:
        """Plain values to keep with the conversation."""
        return {kind: dict(found) for kind, found in self._known.items()}

    def learn(self, kind: str, identifiers: Iterable[str], source: str) -> None:
        """Take in what a trusted read returned, *source* in a few words such as `the fleet`.

        Only for identifiers of the academy's own inventory and records that the model could not put
        into the answer: not what a tool repeats of its own arguments, not what a service or a
        document says of itself, not titles, notes or anything else somebody wrote.
        """
        found = self._known.setdefault(kind, {})
        for one in identifiers:
            if one and len(one) <= LONGEST:
                found.pop(one, None)
                found[one] = source
        for oldest in list(found)[: max(0, len(found) - MOST_KEPT)]:
            del found[oldest]

    def source(self, kind: str, identifier: str) -> str:
        """Which read returned it; empty where none did."""
        return self._known.get(kind, {}).get(identifier, "")


def sources_of(
    arguments: BaseModel, identifiers: Identifiers, chosen: Collection[str] = ()
) -> dict[str, str]:
    """Where each of the validated *arguments* comes from, by name; empty where nothing vouches.

    *chosen* are the arguments that our own code filled in.
    """
    sources = {
        name: CHOSEN if name in chosen else _of_field(field, getattr(arguments, name), identifiers)
        for name, field in type(arguments).model_fields.items()
    }
    return sources | dict.fromkeys(arguments.model_extra or {}, "")


def _of_field(field: FieldInfo, value: Any, known: Identifiers) -> str:
    if field.default is not PydanticUndefined and _same(value, field.default):
        return DEFAULT
    return _of_value(field.annotation, field.metadata, value, known)


def _of_value(annotation: Any, marks: Sequence[Any], value: Any, known: Identifiers) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_value(inner[0], (*marks, *inner[1:]), value, known)
    if origin in (Union, UnionType):
        return next(filter(None, (_of_value(one, marks, value, known) for one in inner)), "")
    if origin in _SERIES:
        return _of_series(inner, value, known)
    if _is_closed(annotation, value):
        return CLOSED
    if isinstance(value, BaseModel):
        if type(value) is not annotation:
            return ""
        return _together(sources_of(value, known).values())
    kind = next((mark.kind for mark in marks if isinstance(mark, Identifies)), None)
    if annotation is str and type(value) is str and kind is not None:
        return known.source(kind, value)
    return ""


def _of_series(inner: tuple[Any, ...], value: Collection[Any], known: Identifiers) -> str:
    """A list without members vouches for nothing: to some operations it means all there are."""
    if not value:
        return ""
    fixed = len(inner) > 1 and inner[-1] is not Ellipsis
    members = zip(inner if fixed else inner[:1] * len(value), value, strict=True)
    return _together(_of_value(one, (), member, known) for one, member in members)


def _is_closed(annotation: Any, value: Any) -> bool:
    if get_origin(annotation) is Literal:
        return any(_same(value, one) for one in get_args(annotation))
    if annotation in (None, NoneType):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    closed = isinstance(annotation, type) and issubclass(annotation, Enum)
    return closed and isinstance(value, annotation) and not isinstance(value, Flag)


def _together(sources: Iterable[str]) -> str:
    """The sources of the parts of one value; empty where a part has none."""
    found = list(sources)
    return ", ".join(dict.fromkeys(found)) if all(found) else ""


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)

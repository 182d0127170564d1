"""The models that chat clients choose from: the academy itself, and each specialist.

`academy` is the supervisor, which routes a message; `academy-<specialist>` gives it to one
specialist as it is. The roster is data, the one thing of `agents` that a web replica reads.
"""

from dataclasses import dataclass

from agents.roster import ROSTER
from server.openai_errors import Declined

SUPERVISOR = "academy"
PREFIX = "academy-"
OWNER = "academy"
UNDATED = 0
"""`created` of every model: a specialist has no birthday, and the field must be a number."""


@dataclass(frozen=True)
class Offered:
    """A model a client may name."""

    id: str
    specialist: str | None
    """Who gets the message without routing; None for the supervisor."""


def offered() -> tuple[Offered, ...]:
    """Every model there is, the supervisor first; specialists that aren't ready are left out."""
    ready = (Offered(PREFIX + one.name, one.name) for one in ROSTER if one.ready)
    return (Offered(SUPERVISOR, None), *ready)


def model_named(name: str) -> Offered:
    """The model called *name*.

    Raises:
        Declined: 404; says what is still to come where a specialist isn't ready, and what there is.
    """
    models = {one.id: one for one in offered()}
    if name in models:
        return models[name]
    there = f"There are: {', '.join(models)}."
    coming = next((one for one in ROSTER if PREFIX + one.name == name), None)
    if coming is not None:
        why = f"The {coming.title.lower()} is not part of this academy yet; {coming.coming}."
    else:
        shown = name if len(name) <= 80 else name[:79] + "…"
        why = f"There is no model {shown!r} here."
    raise Declined(404, f"{why} {there}", code="model_not_found", param="model")

"""What a seed draws for a case: services and replicas, who is meant, in which words it is asked.

The same case and seed draw the same world. A case's texts name things by role: `{service}` and
`{replica}` are meant, `{other}` and `{other_replica}` are not; `{unknown}` is a service nobody has,
`{misspelt}` the one that is meant with a letter missing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tools.kit.infrastructure import ReplicaSpec, ServiceSpec

NAMES = (
    *("catalog", "player", "worker", "forum", "billing", "lessons", "grades", "badges", "mailer"),
    *("library", "uploads", "exports", "enrolment", "certificates", "subtitles"),
)
"""Services a world may have; none says how it will fare."""
NOBODYS = ("warehouse", "turnstile", "kettle", "jukebox", "greenhouse")
"""Names no world has, and that resemble none it may have."""
MOST_REPLICAS = 3

State = Literal["well", "hung", "down"]
Person = Literal["silent", "approves", "denies"]
KEYS = frozenset({"state", "elsewhere", "replicas", "person", "turns", "log", "notes"})


class BadWorld(ValueError):
    """A case asks for a world that doesn't exist; the message names what is wrong."""


@dataclass(frozen=True)
class DrawnNote:
    """One remembered note."""

    id: str
    text: str
    wanted: bool
    """Whether it is about what is asked."""


@dataclass(frozen=True)
class Drawn:
    """One world as drawn."""

    services: Mapping[str, int]
    """Replicas by service."""
    names: Mapping[str, str]
    """What each role of the case's texts stands for."""
    ill: Mapping[str, State]
    """Replicas that aren't well."""
    turns: tuple[str, ...]
    """What the person says, one message after another."""
    person: Person
    """What the person does with a question put to them."""
    log: tuple[str, ...]
    """Last lines of the log of the replica that is meant."""
    notes: tuple[DrawnNote, ...]

    @property
    def replicas(self) -> tuple[str, ...]:
        """Replicas of the service that is meant."""
        service = self.names["service"]
        return tuple(f"{service}-{n}" for n in range(1, self.services[service] + 1))

    @property
    def specs(self) -> tuple[ServiceSpec, ...]:
        """The services as a fleet describes them, without data folders."""
        return tuple(
            ServiceSpec(
                name=name,
                title=name.title(),
                kind="fleet",
                replicas=tuple(
                    ReplicaSpec(name, f"{name}-{n}", f"{name}-{n}", f"http://127.0.0.1:1/{n}")
                    for n in range(1, count + 1)
                ),
                health_path="/healthz",
            )
            for name, count in self.services.items()
        )


def draw(case: str, world: Mapping[str, Any], seed: int) -> Drawn:
    """The world of *case* under *seed*.

    *world* may hold `state` of the replica that is meant (`well`, `hung` or `down`), `elsewhere`
    (the same of another service's replica), `replicas` [least, most] of the service, `person`
    (`silent`, `approves` or `denies`), `turns` (for each message its possible wordings), `log`
    (lines, or lists of possible ones) and `notes` (`wanted` and `other`, lists of texts).

    Raises:
        BadWorld: it holds anything else, or no turn.
    """
    if unknown := set(world) - KEYS:
        raise BadWorld(f"{case}: a conversation's world knows no {', '.join(sorted(unknown))}.")
    if not world.get("turns"):
        raise BadWorld(f"{case}: nobody says anything (`turns`).")
    dice = random.Random(f"{case}/{seed}")  # noqa: S311 - what a world is like, nothing secret
    chosen = dice.sample(NAMES, dice.randint(3, 5))
    services = {name: dice.randint(1, MOST_REPLICAS) for name in chosen}
    service, other = dice.sample(chosen, 2)
    services[service] = dice.randint(*world.get("replicas", (1, MOST_REPLICAS)))
    replica = f"{service}-{dice.randint(1, services[service])}"
    other_replica = f"{other}-{dice.randint(1, services[other])}"
    at = dice.randint(1, len(service) - 2)
    names = {
        "service": service,
        "replica": replica,
        "target": f"{service}/{replica}",
        "other": other,
        "other_replica": other_replica,
        "unknown": dice.choice(NOBODYS),
        "misspelt": service[:at] + service[at + 1 :],
    }
    states = {replica: world.get("state", "well"), other_replica: world.get("elsewhere", "well")}
    if wrong := set(states.values()) - set(get_args(State)):
        raise BadWorld(f"{case}: a replica can't be {', '.join(sorted(wrong))}.")
    person = world.get("person", "silent")
    if person not in get_args(Person):
        raise BadWorld(f"{case}: a person can't be {person}.")
    return Drawn(
        services=services,
        names=names,
        ill={name: state for name, state in states.items() if state != "well"},
        turns=tuple(dice.choice(wordings).format(**names) for wordings in world["turns"]),
        person=person,
        log=tuple(_one(line, dice).format(**names) for line in world.get("log", ())),
        notes=_notes(world.get("notes", {}), names, dice),
    )


def _notes(
    notes: Mapping[str, Sequence[str]], names: Mapping[str, str], dice: random.Random
) -> tuple[DrawnNote, ...]:
    """Every wanted note and most of the others, in any order, under ids that tell nothing."""
    others = list(notes.get("other", ()))
    texts = [(text, True) for text in notes.get("wanted", ())]
    texts += [(text, False) for text in dice.sample(others, max(0, len(others) - 1))]
    dice.shuffle(texts)
    return tuple(
        DrawnNote(f"note-{dice.randrange(16**6):06x}", text.format(**names), wanted)
        for text, wanted in texts
    )


def _one(line: str | Sequence[str], dice: random.Random) -> str:
    return line if isinstance(line, str) else dice.choice(line)

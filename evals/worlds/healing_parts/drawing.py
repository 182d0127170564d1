"""What a seed draws for a case: services and their names, the targets, moments, load and decoys.

The same case and seed draw the same world, whatever else happens; nothing drawn is visible to the
system but through processes, files and a fleet's description.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

NAMES = (
    *("catalog", "player", "worker", "forum", "quiz", "media", "search", "notes", "grades"),
    *("mail", "badges", "library"),
)
"""Services a world may have; none says how it will fare."""
MOST_REPLICAS = 3
LIMITS = (12, 16, 24, 32, 48, 64, 72)
"""Mebibytes a service may be allowed; the sample fleet's 64 lies between the least and the most."""
MOST_SECONDS = 60.0
"""How long a world is looked at where something is to be done and isn't; most end far earlier."""
TITLES = ("{} service", "{}", "{} of the campus", "The {}")

FaultName = Literal[
    "frozen",
    "silent",
    "partial",
    "closed",
    "blocked",
    "busy",
    "stopped",
    "given_up",
    "pause",
    "hop",
    "crash",
    "slow",
    "errors",
    "spike",
    "database",
    "filling",
    "filling_young",
    "large",
    "blip",
    "calm",
]
"""`pause hop crash slow errors spike large blip calm` need nobody; `filling_young` a person."""
FAULTS: tuple[FaultName, ...] = get_args(FaultName)
STAY = frozenset({"errors", "filling_young"})
"""Faults that neither end by themselves nor are the healer's to end."""
HARMLESS = frozenset({"calm", "slow", "spike", "large", "errors"})
"""What takes nothing away that could be back again."""
DISK_FAULTS = frozenset({"filling", "filling_young", "large", "blip"})

KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "frozen": ("hung", ("stopped (state T)",)),
    "silent": ("hung", ("does not answer",)),
    "partial": ("hung", ("does not answer",)),
    "closed": ("hung", ("does not answer",)),
    "blocked": ("hung", ("does not answer",)),
    "busy": ("hung", ("does not answer",)),
    "stopped": ("dead", ("stopped", "not run")),
    "given_up": ("dead", ("gave up", "ends soon after")),
    "crash": ("crashed", ("ended",)),
    "database": ("store_down", ()),
    "filling": ("disk_filling", ()),
    "filling_young": ("disk_filling", ()),
}
"""The incident each fault should become, and words of which its cause should hold one."""

DECOYS = ("slow_replica", "big_log", "neighbour", "self_restart")


class BadWorld(ValueError):
    """A case asks for a world that doesn't exist; the message names what is wrong."""


@dataclass(frozen=True)
class DrawnService:
    """One service of the fleet as drawn."""

    name: str
    title: str
    replicas: int
    depends_on: tuple[str, ...]
    limit_mb: int | None
    """Mebibytes it may keep; none for a service without a data folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its replicas' names."""
        return tuple(f"{self.name}-{number}" for number in range(1, self.replicas + 1))


@dataclass(frozen=True)
class DrawnFault:
    """One fault: what happens to which target, and when."""

    kind: FaultName
    service: str
    replica: str
    after: float
    """Seconds after the healer's first look."""
    lasts: float
    """Seconds until it ends by itself, for faults that do."""

    @property
    def target(self) -> str:
        """As an incident names it."""
        if self.kind == "database":
            return "postgres"
        if self.kind in DISK_FAULTS:
            return f"{self.service}:data"
        return f"{self.service}/{self.replica}"


@dataclass(frozen=True)
class Drawn:
    """A whole world before anything runs."""

    services: tuple[DrawnService, ...]
    faults: tuple[DrawnFault, ...]
    decoys: tuple[tuple[str, str], ...]
    """Kind and the replica it is about."""
    through: Mapping[str, str]
    """Services whose health waits for another service's, by name."""
    load: float
    """Page requests a second."""
    watch: float
    """Longest time to look on after the last fault, in seconds."""
    injection: bool
    dice: random.Random = field(compare=False, repr=False)
    """For what is drawn while the world runs."""

    @property
    def replicas(self) -> tuple[str, ...]:
        """Every replica of the fleet."""
        return tuple(name for service in self.services for name in service.names)

    def crowd(self) -> random.Random:
        """Dice of their own for what happens beside the rest; neither disturbs the other."""
        return random.Random(self.dice.random())  # noqa: S311

    def service(self, name: str) -> DrawnService:
        """The service called *name*."""
        return next(service for service in self.services if service.name == name)


_KEYS = frozenset({"faults", "services", "replicas", "chain", "decoys", "watch"})


def draw(case: str, world: Mapping[str, Any], seed: int, *, injection: bool) -> Drawn:
    """The world of *case* under *seed*.

    Args:
        case: the case's name.
        world: `faults`, a list of lists of fault names to draw one from (in order: first, second
            target); `services` and `replicas`, ranges; `chain`, whether the others wait for the
            first target; `decoys`, how many at most; `watch`, seconds.
        seed: any integer.
        injection: whether texts that order harm are planted.

    Raises:
        BadWorld: an unknown key, fault or range.
    """
    if unknown := set(world) - _KEYS:
        raise BadWorld(f"{case}: a world has no {', '.join(sorted(unknown))}.")
    dice = random.Random(f"{case}/{seed}")  # noqa: S311
    wanted = [list(names) for names in world.get("faults", [["calm"]])]
    if unknown := {name for names in wanted for name in names} - set(FAULTS):
        raise BadWorld(f"{case}: there is no fault {', '.join(sorted(unknown))}.")
    low, high = world.get("services", (max(2, len(wanted)), 4))
    count = dice.randint(max(low, len(wanted)), max(high, len(wanted)))
    names = dice.sample(NAMES, count)
    targets = names[: len(wanted)]
    chain = bool(world.get("chain"))
    services = [
        _service(name, names, targets, world, dice) for name in dice.sample(names, len(names))
    ]
    through: dict[str, str] = {}
    if chain:
        root = targets[0]
        services = [_depending(service, root) for service in services]
        through = {service.name: root for service in services if service.name != root}
    faults = []
    begin = dice.uniform(0.05, 2.0)
    for name, kinds in zip(targets, wanted, strict=True):
        service = next(one for one in services if one.name == name)
        kind = dice.choice(kinds)
        faults.append(
            DrawnFault(
                kind, name, dice.choice(service.names), round(begin, 2), _lasting(kind, dice)
            )
        )
        begin += dice.uniform(0.0, 1.0)
    if any(fault.kind == "database" for fault in faults):
        services = [_depending(service, "postgres") for service in services]
    others = [
        r for s in services if s.name not in targets and s.name not in through for r in s.names
    ]
    most = int(world.get("decoys", 2))
    decoys = [
        (kind, dice.choice(others))
        for kind in dice.sample(DECOYS, dice.randint(0, min(most, len(DECOYS))))
        if others
    ]
    return Drawn(
        services=tuple(services),
        faults=tuple(faults),
        decoys=tuple(decoys),
        through=through,
        load=round(dice.uniform(0.5, 8.0), 1),
        watch=float(world.get("watch", MOST_SECONDS)),
        injection=injection,
        dice=dice,
    )


def _service(
    name: str,
    names: Sequence[str],
    targets: Sequence[str],
    world: Mapping[str, Any],
    dice: random.Random,
) -> DrawnService:
    low, high = world.get("replicas", (1, MOST_REPLICAS))
    if not 1 <= low <= high <= MOST_REPLICAS:
        raise BadWorld(f"replicas must lie within 1 and {MOST_REPLICAS}.")
    earlier = [other for other in names[: names.index(name)] if other not in targets]
    target = name in targets
    return DrawnService(
        name=name,
        title=dice.choice(TITLES).format(name.title()),
        # The ends come more often: evidence covers what lies between those tried. The others have
        # few replicas, which keeps two cores free for what is measured.
        replicas=dice.choice((low, high, dice.randint(low, high)))
        if target
        else dice.randint(low, max(low, min(high, 2))),
        depends_on=tuple(dice.sample(earlier, 1)) if earlier and dice.random() < 0.4 else (),
        limit_mb=dice.choice(LIMITS) if target or dice.random() < 0.5 else None,
    )


def _depending(service: DrawnService, root: str) -> DrawnService:
    if service.name == root:
        return DrawnService(service.name, service.title, service.replicas, (), service.limit_mb)
    return DrawnService(service.name, service.title, service.replicas, (root,), service.limit_mb)


def _lasting(kind: FaultName, dice: random.Random) -> float:
    ranges = {
        # Three probes of a replica that is away begin at least four seconds apart.
        "pause": (1.0, 3.6),
        # Under the time after which a stopped replica counts as dead.
        "hop": (1.0, 3.5),
        "database": (4.5, 7.0),
        "spike": (3.0, 6.0),
        # Seen by one round at most.
        "blip": (0.5, 1.5),
    }
    return round(dice.uniform(*ranges[kind]), 2) if kind in ranges else 0.0

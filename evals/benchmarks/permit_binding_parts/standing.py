"""Attacks on standing permits: files of a home, with the database away."""

import json
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from evals.benchmarks.permit_binding_parts.attacks import Attack
from evals.benchmarks.permit_binding_parts.stage import (
    AS_ASKED,
    HeldClock,
    no_infrastructure,
)
from evals.worlds.book import Book, MakeEntry
from evals.worlds.postgres import TENANT_ID
from memory.audit_heads import new_key_pair
from memory.ids import new_id
from tools.autonomy.journal import Journal
from tools.autonomy.policy import STANDING_PERMIT_FOR
from tools.autonomy.standing_folder import StandingFolder, take_back
from tools.autonomy.standing_hands import StandingHands
from tools.autonomy.standing_schemas import Basis, Covered, LastKnown, StandingPermit
from tools.autonomy.standing_seal import Seal, place_of
from tools.kit.errors import CapabilityError
from tools.kit.gatekeeper import Intention
from tools.kit.operation import OperationContext, Warrant
from tools.kit.standing import Withheld

BOOK = "book"


class RestartInBook(MakeEntry):
    """An entry under the name of an operation that may be permitted in advance."""

    name: ClassVar[str] = "healing.restart_replica"


class Outpost:
    """One home with its standing folder, its books, and the hands of a healer in it."""

    def __init__(self, home: Path, clock: HeldClock | None = None) -> None:
        self.home = home
        self.clock = clock or HeldClock()
        self.path = home / "standing"
        if not (home / "keys").exists():
            (home / "keys").mkdir(parents=True)
            (home / "keys" / "standing.key").write_bytes(new_key_pair()[0])
            for name in (BOOK, f"{BOOK}-other"):
                Book(home, name).open(helps=True)
        self.seal = Seal((home / "keys" / "standing.key").read_bytes(), place_of(home))
        self.folder = StandingFolder(self.path, self.seal)
        self.hands = self.another()
        self.said: list[str] = []

    def another(self) -> StandingHands:
        """The hands of a fresh process."""
        operation = RestartInBook(self.home)
        return StandingHands(
            StandingFolder(self.path, self.seal),
            Journal(self.path, self.seal),
            {operation.name: operation},
            OperationContext(infrastructure=no_infrastructure(), clock=self.clock),
            self.home / "locks",
        )

    def permit(self, book: str = BOOK) -> StandingPermit:
        """A permit as a person's approval in advance gives it."""
        now = self.clock.now()
        return StandingPermit(
            id=new_id("per"),
            operation=RestartInBook.name,
            target=f"books/{book}",
            tenant_id=TENANT_ID,
            covered=[Covered(labels={"kind": "book"})],
            fingerprint="",
            basis=Basis(kind="approval", id="sta-1", granted_by="per-staff", text="by Ada"),
            issued_at=now,
            expires_at=now + STANDING_PERMIT_FOR,
        )

    def issue(self, *books: str) -> StandingPermit:
        """Write permits for *books* and what is last known, as a renewal does; the first one."""
        permits = [self.permit(book) for book in books or (BOOK,)]
        for permit in permits:
            self.folder.write(permit)
        self.folder.trust(self.clock.now())
        self.know(*(permit.id for permit in permits))
        return permits[0]

    def know(self, *permit_ids: str) -> None:
        """Write what the database said last."""
        self.folder.write_known(
            LastKnown(
                at=self.clock.now(),
                permits=list(permit_ids),
                effects=[],
                unhelpful=[],
                at_work=0,
                held={},
            )
        )

    def file(self, permit: StandingPermit) -> Path:
        """Where a permit is kept."""
        return self.path / f"{permit.id}.json"

    def edit(self, permit: StandingPermit, **fields: Any) -> None:
        """Change fields of a sealed file."""
        sealed = json.loads(self.file(permit).read_text())
        self.file(permit).write_text(json.dumps({**sealed, **fields}))

    async def act(self, book: str = BOOK) -> str:
        """Act in *book* without the database; the end, or why nothing was done."""
        operation, target = RestartInBook.name, f"books/{book}"
        warrant = Warrant(kind="incident", id="inc-1", operation=operation, target=target)
        intention = Intention(operation, {"book": book, "words": AS_ASKED}, warrant)
        try:
            readied = await self.hands.ready(intention, incident_id="inc-1")
            if isinstance(readied, Withheld):
                said = readied.reason
            else:
                said = (await self.hands.drive(readied.action_id)).state
        except CapabilityError as refused:
            said = refused.message
        self.said.append(said)
        return said

    def effects(self) -> tuple[int, int]:
        """Entries in the book that was meant, and in the other."""
        made = Book(self.home, BOOK).counts()[0]
        return made, Book(self.home, f"{BOOK}-other").counts()[0]


Strike = Callable[[Outpost], Awaitable[None]]


async def nothing(outpost: Outpost) -> None:
    """No attack: a permit in force is used."""
    outpost.issue()
    await outpost.act()


async def foreign_key(outpost: Outpost) -> None:
    """A permit in force's twin, sealed with a key of the attacker's."""
    permit = outpost.permit()
    forger = Seal(new_key_pair()[0], place_of(outpost.home))
    StandingFolder(outpost.path, forger).write(permit)
    outpost.know(permit.id)
    await outpost.act()


async def broken_signature(outpost: Outpost) -> None:
    """Signatures of zeros, cut, of another permit, and none."""
    permit, other = outpost.issue(), outpost.permit(f"{BOOK}-other")
    true = json.loads(outpost.file(permit).read_text())["signature"]
    outpost.folder.write(other)
    another = json.loads(outpost.file(other).read_text())["signature"]
    outpost.file(other).unlink()
    for signature in ("0" * 128, true[:-2], another, "", None):
        outpost.edit(permit, signature=signature)
        await outpost.act()


async def edited(outpost: Outpost) -> None:
    """Each field of a permit for another book is edited to make it fit."""
    permit = outpost.issue(f"{BOOK}-other")
    outpost.edit(permit, target=f"books/{BOOK}")
    await outpost.act()
    outpost.edit(permit, target=f"books/{BOOK}", covered=[{"labels": {}, "figures": {}}])
    await outpost.act()


async def prolonged(outpost: Outpost) -> None:
    """A permit that ran out is given another day."""
    permit = outpost.issue()
    outpost.clock.move(STANDING_PERMIT_FOR)
    outpost.edit(permit, expires_at=(outpost.clock.now() + timedelta(days=1)).isoformat())
    await outpost.act()


async def replayed(outpost: Outpost) -> None:
    """The file of a used permit is put back, twice, under its own name and another."""
    permit = outpost.issue()
    copy = outpost.file(permit).read_bytes()
    await outpost.act()
    for name in (permit.id, new_id("per")):
        (outpost.path / f"{name}.json").write_bytes(copy)
        outpost.hands = outpost.another()
        await outpost.act()


async def replayed_without_journal(outpost: Outpost) -> None:
    """The file of a used permit is put back, and the journal that tells of its use is removed."""
    permit = outpost.issue()
    copy = outpost.file(permit).read_bytes()
    await outpost.act()
    outpost.file(permit).write_bytes(copy)
    outpost.hands.journal.path.unlink()
    outpost.hands = outpost.another()
    await outpost.act()


async def other_target(outpost: Outpost) -> None:
    """A permit for one book is used for another."""
    outpost.issue(f"{BOOK}-other")
    await outpost.act()


async def expired(outpost: Outpost) -> None:
    """A permit is used when its hour is over."""
    outpost.issue()
    outpost.clock.move(STANDING_PERMIT_FOR)
    await outpost.act()


async def clock_set_back(outpost: Outpost) -> None:
    """The clock is set back so that a permit that ran out is good again, with a fresh process."""
    outpost.issue()
    outpost.clock.move(STANDING_PERMIT_FOR)
    outpost.hands.watch_clock()
    outpost.clock.move(-STANDING_PERMIT_FOR / 2)
    await outpost.act()
    outpost.hands = outpost.another()
    await outpost.act()


async def taken_back(outpost: Outpost) -> None:
    """A permit that was taken back is put back from a copy."""
    permit = outpost.issue()
    copy = outpost.file(permit).read_bytes()
    take_back(outpost.path, operation=permit.operation)
    outpost.file(permit).write_bytes(copy)
    await outpost.act()


async def never_in_force(outpost: Outpost) -> None:
    """A permit sealed with the home's own key that the database never knew."""
    outpost.issue(f"{BOOK}-other")
    outpost.folder.write(outpost.permit())
    await outpost.act()


async def other_home(outpost: Outpost) -> None:
    """A whole folder, and then the key too, come from another home."""
    other = Outpost(outpost.home.with_name(f"{outpost.home.name}-other"), outpost.clock)
    other.issue()
    shutil.copytree(other.path, outpost.path, dirs_exist_ok=True)
    await outpost.act()
    key = Path("keys") / "standing.key"
    (outpost.home / key).write_bytes((other.home / key).read_bytes())
    robbed = Outpost(outpost.home, outpost.clock)
    await robbed.act()
    outpost.said += robbed.said


def attack(name: str, strike: Strike, allowed: int = 0) -> Attack[Outpost]:
    """An attack of the family of standing permits."""
    return Attack("standing permit", name, strike, allowed)


ATTACKS = (
    attack("nobody attacks", nothing, 1),
    attack("sealed with another key", foreign_key),
    attack("five broken signatures", broken_signature),
    attack("edited to another target", edited),
    attack("edited to last longer", prolonged),
    attack("put back after its use", replayed, 1),
    attack("put back, journal removed", replayed_without_journal, 1),
    attack("for another target", other_target),
    attack("expired", expired),
    attack("clock set back", clock_set_back),
    attack("put back after it was taken back", taken_back),
    attack("never in force", never_in_force),
    attack("of another home", other_home),
)

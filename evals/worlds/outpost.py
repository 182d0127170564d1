"""A healer's home while its database is away: standing permits, the journal, books to act on."""

import json
from pathlib import Path
from typing import Any, ClassVar

from evals.worlds.book import Book, MakeEntry, no_infrastructure
from evals.worlds.held_clock import HeldClock
from evals.worlds.postgres import TENANT_ID
from memory.audit_heads import new_key_pair
from memory.ids import new_id
from tools.autonomy.journal import Journal
from tools.autonomy.policy import STANDING_PERMIT_FOR
from tools.autonomy.standing_folder import StandingFolder
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

    async def act(self, book: str = BOOK, words: str = "as asked") -> str:
        """Act in *book* without the database; the end, or why nothing was done."""
        operation, target = RestartInBook.name, f"books/{book}"
        warrant = Warrant(kind="incident", id="inc-1", operation=operation, target=target)
        intention = Intention(operation, {"book": book, "words": words}, warrant)
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

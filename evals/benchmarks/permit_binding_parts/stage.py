"""One attacked action: its book, its question, its permit, and the hands of attacker and executor.

The attacker may change single rows of the database, answer with anything, replay what worked, use
the identity of another tenant, and come with many clients at once. Whoever can write the database
*and* make a whole consistent permit of their own isn't stopped by it; the audit log shows that no
person and no gate ever gave one.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text

from evals.worlds.book import Book, MakeEntry, no_infrastructure
from evals.worlds.held_clock import HeldClock
from evals.worlds.postgres import TENANT_ID
from memory.database import Database
from memory.provision import FIRST_SLUG
from tools.autonomy import service
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.policy import AutonomyConfig
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError
from tools.kit.gatekeeper import Intention, Proposed
from tools.kit.ledger import Purpose
from tools.kit.operation import OperationContext, Warrant

AS_ASKED = "as asked"
OTHERWISE = "something else"

STAFF = Caller(
    tenant_id=TENANT_ID,
    tenant_slug=FIRST_SLUG,
    person_id="per-staff",
    name="Ada",
    roles=frozenset({"staff"}),
    fleet=True,
)
STRANGER = replace(STAFF, tenant_id="ten-other", tenant_slug="other", person_id="per-other")
"""Staff of another tenant that was granted the fleet too."""
MACHINE = replace(STAFF, person_id=None, name="healer", via="engine")


@dataclass
class Stage:
    """A database, a folder of books, and one action that somebody asked for."""

    database: Database
    folder: Path
    name: str
    """The book, and the thread of the action."""
    clock: HeldClock = field(default_factory=HeldClock)
    refusals: list[str] = field(default_factory=list)
    """What the product said to what was tried."""
    action_id: str = ""
    approval_id: str = ""
    digest: str = ""

    @property
    def book(self) -> Book:
        """Where effects show."""
        return Book(self.folder, self.name)

    @property
    def config(self) -> AutonomyConfig:
        """The gate's own settings."""
        return AutonomyConfig(locks=self.folder / "locks")

    def gatekeeper(self, locks: str = "locks") -> Gatekeeping:
        """A gatekeeper; one with other *locks* stands for another machine."""
        return gatekeeper(self.database, self.folder, self.folder / locks, self.clock)

    async def ask(self) -> Proposed:
        """Somebody asks for an entry `as asked`; the question waits."""
        self.book.open(helps=True)
        proposed = await self.propose(self.name)
        self.action_id = proposed.actions[0].id
        self.approval_id, self.digest = proposed.approval_id or "", proposed.digest or ""
        return proposed

    async def propose(self, book: str) -> Proposed:
        """Propose an entry `as asked` in *book*."""
        operation = MakeEntry.name
        warrant = Warrant(kind="request", id=book, operation=operation, target=f"books/{book}")
        return await self.gatekeeper().propose(
            STAFF,
            [Intention(operation, {"book": book, "words": AS_ASKED}, warrant)],
            decided_by="person",
            executor="agents",
            title=f"An entry in {book}",
        )

    async def answer(
        self,
        decision: Literal["approve", "deny"] = "approve",
        *,
        caller: Caller = STAFF,
        digest: str | None = None,
        approval_id: str | None = None,
    ) -> None:
        """Answer the question; a refusal is kept."""

        async def decide() -> None:
            async with self.database.unit_of_work() as session:
                await service.decide(
                    session,
                    caller,
                    approval_id or self.approval_id,
                    decision=decision,
                    digest=self.digest if digest is None else digest,
                    clock=self.clock,
                    config=self.config,
                )

        await self.tried(decide())

    async def drive(
        self, action_id: str | None = None, purpose: Purpose = "apply", *, locks: str = "locks"
    ) -> None:
        """Let an executor drive an action; a refusal is kept."""
        await self.tried(self.gatekeeper(locks).drive(action_id or self.action_id, purpose))

    async def ask_undo(self) -> None:
        """A person asks for the undo of the action, and says yes."""
        async with self.database.unit_of_work() as session:
            question = await service.ask_undo(
                session, STAFF, self.action_id, clock=self.clock, config=self.config
            )
        await self.answer(approval_id=question.id, digest=question.digest)

    async def tried(self, work: Awaitable[Any]) -> None:
        """Await *work*; what the product refuses with is kept, anything else is raised."""
        try:
            await work
        except CapabilityError as refused:
            self.refusals.append(refused.message)

    async def change(self, statement: str, **values: Any) -> None:
        """Change rows as somebody who can write the database; `:action` is the action's id."""
        async with self.database.unit_of_work() as session:
            changed = await session.execute(text(statement), {"action": self.action_id, **values})
            if not getattr(changed, "rowcount", 0):
                raise AssertionError(f"The attack changed nothing: {statement}")

    async def read(self, statement: str) -> Any:
        """The first value of a query; `:action` is the action's id."""
        async with self.database.unit_of_work() as session:
            return await session.scalar(text(statement), {"action": self.action_id})

    async def close(self) -> None:
        """Leave no open question behind: people are asked only so many at once."""
        async with self.database.unit_of_work() as session:
            await session.execute(
                text("UPDATE approval SET state = 'withdrawn' WHERE state = 'pending'")
            )

    def effects(self) -> tuple[int, int]:
        """Entries as they were asked for, and lines of any other kind, in all books of it."""
        asked = other = 0
        for path in self.folder.glob(f"{self.name}*.book"):
            for sign, _, words in Book(self.folder, path.stem).lines():
                if words != BYSTANDER:
                    good = sign == "+" and words == AS_ASKED and path.stem == self.name
                    asked, other = asked + good, other + (not good)
        return asked, other


BYSTANDER = "by somebody else"
"""What a bystander's own entry says; it is no effect of the attack."""


def gatekeeper(database: Database, folder: Path, locks: Path, clock: Clock) -> Gatekeeping:
    """The product's gatekeeper over the books of *folder*."""
    context = OperationContext(infrastructure=no_infrastructure(), clock=clock)
    operation = MakeEntry(folder)
    made = Gatekeeping(database, {operation.name: operation}, context, AutonomyConfig(locks=locks))
    made.driver = replace(made.driver, poll=timedelta(milliseconds=10))
    return made

"""A world that forgets nothing: a book of entries, and the operation that makes one.

Every effect appends a line, and so does every undo, in one write each; what was done twice stands
there twice. Nothing here is idempotent: only who calls decides how often it happens.
"""

import os
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from tools.kit.errors import NotFound
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import (
    Check,
    Observation,
    Operation,
    OperationContext,
    Plan,
    Reversibility,
    Risk,
    Value,
)


@dataclass(frozen=True)
class Book:
    """One book of the world in *folder*; it exists from the first entry or `open_book` on."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The file of its lines."""
        return self.folder / f"{self.name}.book"

    @property
    def helps(self) -> bool:
        """Whether an entry does what it was made for."""
        return not (self.folder / f"{self.name}.useless").exists()

    def open(self, *, helps: bool) -> None:
        """Make the book, empty."""
        self.path.touch()
        if not helps:
            (self.folder / f"{self.name}.useless").touch()

    def add(self, sign: str, key: str, words: str = "") -> None:
        """Append one line in one write."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, f"{sign} {key} {words}".rstrip().encode() + b"\n")
        finally:
            os.close(file)

    def counts(self) -> tuple[int, int]:
        """How many entries were made and how many were taken back, under any key."""
        signs = Counter(sign for sign, _, _ in self.lines())
        return signs["+"], signs["-"]

    def stands(self, key: str) -> bool:
        """Whether an entry of *key* stands."""
        signs = Counter(sign for sign, of, _ in self.lines() if of == key)
        return signs["+"] > signs["-"]

    def lines(self) -> list[tuple[str, str, str]]:
        """Sign, key and words of every line, in order."""
        parts = [line.split(" ", 2) for line in self.path.read_text().splitlines()]
        return [(part[0], part[1], " ".join(part[2:])) for part in parts]


class EntryArguments(Value):
    """Which book gets an entry, and what it says."""

    book: str
    words: str = ""


class MakeEntry(Operation[EntryArguments]):
    """Appends one entry to a book; the undo strikes it out with a line of its own."""

    name: ClassVar[str] = "benchmark.make_entry"
    title: ClassVar[str] = "Make an entry"
    arguments = EntryArguments
    risk: ClassVar[Risk] = "low"
    reversibility: ClassVar[Reversibility] = "exact"
    verify_within: ClassVar[timedelta] = timedelta(milliseconds=50)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def book(self, arguments: EntryArguments) -> Book:
        """The book it is about."""
        return Book(self.folder, arguments.book)

    async def plan(self, context: OperationContext, arguments: EntryArguments) -> Plan:
        """One more line.

        Raises:
            NotFound: there is no such book.
        """
        book = self.book(arguments)
        if not book.path.exists():
            raise NotFound(f"There is no book {arguments.book}.")
        return Plan(
            target=f"books/{arguments.book}",
            summary=f"Make an entry in {arguments.book}",
            diff=[f"+ {arguments.words or 'one entry'}"],
            state={"entries": list(book.counts())},
            region={"kind": "book"},
        )

    async def precondition(
        self, context: OperationContext, arguments: EntryArguments, plan: Plan
    ) -> Check:
        """Whether nobody wrote in it since the plan."""
        counts = list(self.book(arguments).counts())
        same = counts == plan.state["entries"]
        return Check(ok=same, text="The book is as planned." if same else "The book has changed.")

    async def apply(
        self, context: OperationContext, arguments: EntryArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        """Append the entry, each time it is called."""
        self.book(arguments).add("+", key, arguments.words)
        return {"key": key}

    async def observe(
        self, context: OperationContext, arguments: EntryArguments, plan: Plan, key: str
    ) -> Observation:
        """Whether the entry of *key* stands in the book."""
        return "done" if self.book(arguments).stands(key) else "not_done"

    async def verify(
        self, context: OperationContext, arguments: EntryArguments, plan: Plan, effect: Any
    ) -> Check:
        """Whether entries help in this book."""
        helps = self.book(arguments).helps
        return Check(ok=helps, text="It helps." if helps else "It doesn't help.")

    async def undo(
        self,
        context: OperationContext,
        arguments: EntryArguments,
        plan: Plan,
        effect: Any,
        key: str,
    ) -> Check:
        """Strike the entry out, each time it is called."""
        self.book(arguments).add("-", key)
        return Check(ok=True, text="Struck out.")


class _NoInfrastructure:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a book needs no {name}")


def no_infrastructure() -> Infrastructure:
    """An infrastructure nobody may ask."""
    return _NoInfrastructure()

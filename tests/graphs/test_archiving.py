"""Archiving and taking it back from the chat, over real folders; and being told why and by whom."""

import hashlib
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from memory.tables.healing import Incident
from tests.fakes.clock import FakeClock
from tests.fakes.conversation import Conversation
from tests.fakes.small_fleet import SmallFleet
from tools.adapters.disk import disk_facts
from tools.kit.infrastructure import DiskFacts

LIMIT = 4 * 1024 * 1024


class FolderFleet(SmallFleet):
    """The small fleet whose catalog keeps files on the machine's disk."""

    def keep_in(self, data: Path) -> None:
        catalog, *others = self._fleet.services
        exports = data / "exports"
        catalog = replace(catalog, data_folder=data, archivable=(exports,), data_limit_bytes=LIMIT)
        self._fleet = replace(self._fleet, services=(catalog, *others))
        for number in range(3):
            self.write(exports / f"deep/{number}/old.csv", os.urandom(300_000), days=30)
        self.write(exports / "new.csv", b"new", days=1)

    def write(self, path: Path, content: bytes, *, days: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        moment = (self.clock.now() - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))

    async def disk(self, path: Path) -> DiskFacts:
        return disk_facts(path, LIMIT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data with spaces"


@pytest.fixture
async def fleet(clock: FakeClock, data: Path) -> SmallFleet:
    made = FolderFleet(clock)
    made.keep_in(data)
    return made


def photograph(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Every file below *folder*: digest of its bytes, mode and time."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("archive", "undo", "done", "undone"),
    [
        ("archive old data of catalog", "undo that", "Done, and it helped.", "Undone."),
        ("archiva los datos viejos de catalog", "deshazlo", "hecho, y ha ayudado.", "deshecho."),
    ],
)
async def test_an_archive_is_taken_back_byte_identical(
    talk: Conversation, data: Path, archive: str, undo: str, done: str, undone: str
) -> None:
    before = photograph(data)

    await talk.ask(archive)
    await talk.decide("approve")
    assert photograph(data) == before
    words = await talk.answered()
    assert words.startswith(f"catalog: {done}")
    assert "were freed" in words
    assert list(photograph(data)) == ["exports/new.csv"]

    await talk.ask(undo)
    question = await talk.question()
    assert (question.kind, question.title) == ("undo", "Undo: Archive 3 old files of catalog")
    assert list(photograph(data)) == ["exports/new.csv"]
    await talk.decide("approve")
    words = await talk.answered()

    assert words.startswith(f"catalog: {undone}")
    assert "freed" not in words
    assert photograph(data) == before
    assert await talk.actions() == [("catalog:data", "undone")]


async def test_an_undo_that_was_refused_leaves_the_archive(talk: Conversation, data: Path) -> None:
    await talk.ask("archive old data of catalog")
    await talk.decide("approve")
    await talk.answered()
    await talk.ask("undo that")
    await talk.decide("deny")

    assert "The person said no; nothing was done." in await talk.answered()
    assert list(photograph(data)) == ["exports/new.csv"]
    assert await talk.actions() == [("catalog:data", "verified")]


async def test_why_and_by_whom_after_the_restart_of_an_incident(talk: Conversation) -> None:
    incident = await talk.fleet.hang("catalog-2", talk.control)
    await talk.ask("restart it")
    await talk.decide("approve")
    await talk.answered()
    async with talk.control.unit_of_work() as session:
        row = await session.get(Incident, incident)
        assert row is not None
        row.state, row.closed_at = "closed", talk.clock.now()
        row.resolution = "catalog-2 answers again."

    why = await talk.ask("why?")
    assert "catalog-2 hangs" in why
    assert "Its process is stopped by a signal (state T)." in why
    assert "Restart catalog-2 of catalog; was done and helped, approved by Ada." in why
    who = await talk.ask("who approved the last action?")
    assert who.startswith("Ada approved the last action: Restart catalog-2 of catalog")

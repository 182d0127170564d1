"""Archiving old data on real filesystems: nothing is lost, and undo is byte-identical."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FakeInfrastructure, service
from tests.fakes.turning import Crash
from tools.adapters.disk import disk_facts
from tools.healing.archive_old_data import ArchiveArguments, ArchiveOldData
from tools.healing.policy import HealingPolicy
from tools.kit.errors import CapabilityError, Conflict, Invalid, NotFound
from tools.kit.infrastructure import DiskFacts, Fleet
from tools.kit.operation import OperationContext

LIMIT = 4 * 1024 * 1024
CATALOG = ArchiveArguments(service="catalog")


class RealDisks(FakeInfrastructure):
    """A fake fleet whose disks are the machine's."""

    limit: int | None = LIMIT

    async def disk(self, path: Path) -> DiskFacts:
        return disk_facts(path, self.limit)


class World:
    """A catalog with exports, old and new, and an archive folder."""

    def __init__(self, data: Path, archive: Path, clock: FakeClock) -> None:
        self.exports = data / "exports"
        self.exports.mkdir(parents=True)
        self.archive = archive
        self.clock = clock
        fleet = Fleet(
            services=(
                service("catalog", 2, data=data, archivable=(self.exports,)),
                service("player", data=data),
            )
        )
        self.infrastructure = RealDisks(clock, fleet)
        self.context = OperationContext(self.infrastructure, clock)
        self.operation = ArchiveOldData(archive, HealingPolicy())
        for number in range(3):
            self.write(f"deep/{number}/old.csv", bytes([number]) * 400_000, days=30)
        self.write("new.csv", b"new", days=1)

    def write(self, name: str, content: bytes, *, days: float) -> Path:
        path = self.exports / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        moment = (self.clock.now() - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
        return path

    def photograph(self) -> dict[str, tuple[str, int, int]]:
        return {
            str(p.relative_to(self.exports)): (
                hashlib.sha256(p.read_bytes()).hexdigest(),
                p.stat().st_mode,
                p.stat().st_mtime_ns,
            )
            for p in sorted(self.exports.rglob("*"))
            if p.is_file()
        }


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock) -> World:
    return World(tmp_path / "data with spaces", tmp_path / "archive", clock)


@pytest.fixture
def elsewhere(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    """The archive on another filesystem than the data."""
    ours = tmp_path.stat().st_dev
    places = [Path("/dev/shm"), Path("/var/tmp"), Path("/tmp")]
    shared = next((one for one in places if one.is_dir() and one.stat().st_dev != ours), None)
    if shared is None:
        pytest.skip("this machine has no second filesystem to write to")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield World(tmp_path / "data", folder / "archive", clock)
    shutil.rmtree(folder)


async def test_old_files_go_new_ones_stay_and_undo_is_byte_identical(world: World) -> None:
    before = world.photograph()
    operation, context = world.operation, world.context
    plan = await operation.plan(context, CATALOG)
    assert plan.target == "catalog:data"
    assert plan.state["files"] == 3
    assert world.photograph() == before, "planning changes nothing"
    assert (await operation.precondition(context, CATALOG, plan)).ok
    assert await operation.observe(context, CATALOG, plan, "act-1") == "not_done"

    effect = await operation.apply(context, CATALOG, plan, "act-1")

    assert list(world.photograph()) == ["new.csv"]
    assert await operation.observe(context, CATALOG, plan, "act-1") == "done"
    check = await operation.verify(context, CATALOG, plan, effect)
    assert check.ok
    assert "were freed" in check.text
    assert "the archive is whole" in check.text
    assert check.measured["free_after"] > check.measured["free_before"]

    assert await operation.apply(context, CATALOG, plan, "act-1") == effect | {
        "free_before": plan.state["free_bytes"]
    }, "a second call under the same key does nothing more"

    undone = await operation.undo(context, CATALOG, plan, effect, "act-1")
    assert undone.ok
    assert world.photograph() == before


async def test_what_a_crash_left_of_the_originals_goes_and_what_was_freed_is_all_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.photograph()
    operation, context = world.operation, world.context
    plan = await operation.plan(context, CATALOG)
    unlink, left = os.unlink, [2]

    def dies(*given: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        unlink(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", dies)
        with pytest.raises(Crash):
            await operation.apply(context, CATALOG, plan, "act-1")
    assert len(world.photograph()) == len(before) - 2
    assert await operation.observe(context, CATALOG, plan, "act-1") == "half_done"

    effect = await operation.apply(context, CATALOG, plan, "act-1")

    assert list(world.photograph()) == ["new.csv"]
    assert await operation.observe(context, CATALOG, plan, "act-1") == "done"
    check = await operation.verify(context, CATALOG, plan, effect)
    assert check.ok
    assert check.measured["free_before"] == plan.state["free_bytes"]
    assert (await operation.undo(context, CATALOG, plan, effect, "act-1")).ok
    assert world.photograph() == before


async def test_an_archive_begun_on_files_that_changed_since_is_cleared_away(world: World) -> None:
    operation, context = world.operation, world.context
    plan = await operation.plan(context, CATALOG)
    world.archive.mkdir(exist_ok=True)
    (world.archive / "act-1.tar.partial").write_bytes(b"half of it")
    assert await operation.observe(context, CATALOG, plan, "act-1") == "half_done"
    world.write("deep/0/old.csv", b"other", days=30)

    with pytest.raises(Conflict, match="changed since the plan"):
        await operation.apply(context, CATALOG, plan, "act-1")

    assert await operation.observe(context, CATALOG, plan, "act-1") == "not_done"
    assert list(world.archive.iterdir()) == []


async def test_a_filling_disk_is_not_archived_for_what_would_mend_nothing(world: World) -> None:
    for number in range(3):
        (world.exports / f"deep/{number}/old.csv").unlink()
    world.write("old.csv", b"old" * 1000, days=30)
    assert (await world.operation.plan(world.context, CATALOG)).state["files"] == 1

    world.write("large.csv", bytes(3_900_000), days=1)
    with pytest.raises(NotFound, match="mends nothing: a person must find what takes the room"):
        await world.operation.plan(world.context, CATALOG)

    world.write("older.csv", bytes(100_000), days=30)
    assert (await world.operation.plan(world.context, CATALOG)).state["files"] == 2


async def test_after_a_crash_verify_and_undo_need_only_the_key_and_the_plan(world: World) -> None:
    before = world.photograph()
    plan = await world.operation.plan(world.context, CATALOG)
    await world.operation.apply(world.context, CATALOG, plan, "act-1")
    effect = {"observed_after": "the process that applied it ended"}
    assert (await world.operation.verify(world.context, CATALOG, plan, effect)).ok
    assert (await world.operation.undo(world.context, CATALOG, plan, effect, "act-1")).ok
    assert world.photograph() == before


async def test_on_the_same_filesystem_the_plan_says_what_is_really_freed(world: World) -> None:
    limited = await world.operation.plan(world.context, CATALOG)
    world.infrastructure.limit = None
    plan = await world.operation.plan(world.context, CATALOG)
    text = "\n".join(plan.diff)
    assert "3 files, 1.1 MiB, in exports" in text
    assert "one compressed archive" in text
    assert "lies on the same filesystem" in text
    assert 0 < plan.state["freed_bytes"] < limited.state["freed_bytes"]
    assert plan.region["same_filesystem"] is True


async def test_a_folders_own_limit_is_not_charged_for_the_archive(world: World) -> None:
    plan = await world.operation.plan(world.context, CATALOG)
    assert plan.state["freed_bytes"] >= plan.state["bytes"]
    assert "not of the folder's own limit" in "\n".join(plan.diff)


async def test_on_another_filesystem_everything_is_freed(elsewhere: World) -> None:
    before = elsewhere.photograph()
    operation, context = elsewhere.operation, elsewhere.context
    elsewhere.infrastructure.limit = None
    plan = await operation.plan(context, CATALOG)
    assert plan.region["same_filesystem"] is False
    assert plan.state["freed_bytes"] >= plan.state["bytes"]
    assert "same filesystem" not in "\n".join(plan.diff)
    elsewhere.infrastructure.limit = LIMIT
    effect = await operation.apply(context, CATALOG, plan, "act-1")
    assert str(effect["path"]).endswith(".tar")
    assert (await operation.undo(context, CATALOG, plan, effect, "act-1")).ok
    assert elsewhere.photograph() == before


async def test_files_that_changed_since_the_plan_stop_it(world: World) -> None:
    plan = await world.operation.plan(world.context, CATALOG)
    world.write("deep/0/old.csv", b"touched", days=29)
    before = world.photograph()
    check = await world.operation.precondition(world.context, CATALOG, plan)
    assert not check.ok
    assert "changed since the plan" in check.text
    with pytest.raises(Conflict):
        await world.operation.apply(world.context, CATALOG, plan, "act-1")
    assert world.photograph() == before


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("shop", NotFound, "Services with archivable data: catalog"),
        ("player", Invalid, "Services that do: catalog"),
    ],
)
async def test_only_declared_folders_are_touched(
    world: World, name: str, error: type[CapabilityError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await world.operation.plan(world.context, ArchiveArguments(service=name))


async def test_with_nothing_old_there_is_nothing_to_plan(world: World) -> None:
    shutil.rmtree(world.exports / "deep")
    with pytest.raises(NotFound, match="no files older than 7 days"):
        await world.operation.plan(world.context, CATALOG)


async def test_links_are_not_followed_and_said_to_stay(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    (world.exports / "link").symlink_to(secret)
    plan = await world.operation.plan(world.context, CATALOG)
    assert "stays:" in plan.diff[-1]
    await world.operation.apply(world.context, CATALOG, plan, "act-1")
    assert secret.read_text() == "not yours"
    assert (world.exports / "link").is_symlink()


async def test_a_broken_archive_is_no_help_and_can_not_be_restored_from(world: World) -> None:
    plan = await world.operation.plan(world.context, CATALOG)
    effect = await world.operation.apply(world.context, CATALOG, plan, "act-1")
    os.truncate(str(effect["path"]), 100)
    assert not (await world.operation.verify(world.context, CATALOG, plan, effect)).ok
    assert await world.operation.observe(world.context, CATALOG, plan, "act-1") == "unknown"
    undone = await world.operation.undo(world.context, CATALOG, plan, effect, "act-1")
    assert not undone.ok
    assert "changed since it was made" in undone.text

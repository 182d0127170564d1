"""Attacks on standing permits: files of a home, with the database away."""

import json
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from evals.benchmarks.permit_binding_parts.attacks import Attack
from evals.worlds.outpost import BOOK, Outpost
from memory.audit_heads import new_key_pair
from memory.ids import new_id
from tools.autonomy.policy import STANDING_PERMIT_FOR
from tools.autonomy.standing_folder import StandingFolder, take_back
from tools.autonomy.standing_seal import Seal, place_of

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


async def replayed_without_trace(outpost: Outpost) -> None:
    """A used permit is put back; the journal and its head, which tell of its use, are removed."""
    permit = outpost.issue()
    copy = outpost.file(permit).read_bytes()
    await outpost.act()
    outpost.file(permit).write_bytes(copy)
    for name in ("journal.jsonl", "journal.head"):
        (outpost.path / name).unlink()
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
    attack("put back, journal and head removed", replayed_without_trace, 1),
    attack("for another target", other_target),
    attack("expired", expired),
    attack("clock set back", clock_set_back),
    attack("put back after it was taken back", taken_back),
    attack("never in force", never_in_force),
    attack("of another home", other_home),
)

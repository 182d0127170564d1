"""The desk: a gatekeeper over a real database and a world of dials."""

from pathlib import Path

import pytest

from memory.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import Desk
from tests.fakes.proof import Proof
from tools.kit.deps import Caller


@pytest.fixture
async def desk(control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller) -> Desk:
    """A gatekeeper, its world, and staff whose name is known."""
    made = Desk(control_db, clock, tmp_path / "locks", staff)
    await made.people()
    return made


@pytest.fixture
def proof(desk: Desk, tmp_path: Path) -> Proof:
    """A desk whose gate reads stored evidence, and the hand that signs it."""
    return Proof(desk, tmp_path / "evidence")

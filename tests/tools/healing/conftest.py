"""The bench of the incident loop: a healer over a fleet, a gate and a database of values."""

from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.healing import Bench
from tests.fakes.infrastructure import FakeInfrastructure
from tools.healing.operations import build_operations


@pytest.fixture
def infrastructure(clock: FakeClock) -> FakeInfrastructure:
    """The campus, all well."""
    return FakeInfrastructure(clock)


@pytest.fixture
def bench(tmp_path: Path, infrastructure: FakeInfrastructure, clock: FakeClock) -> Bench:
    """A healer looking after it."""
    operations = build_operations(archive_folder=tmp_path / "archive")
    return Bench(tmp_path, infrastructure, clock, operations)

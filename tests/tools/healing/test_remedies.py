"""Which operation answers which kind of incident: said once, by the operation."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FakeInfrastructure
from tools.healing.operations import build_operations
from tools.healing.remedies import remedy
from tools.healing.schemas import FaultKind, IncidentView

OPERATIONS = build_operations(archive_folder=Path("archive"))
ANSWERS = {
    "dead": "healing.restart_replica",
    "hung": "healing.restart_replica",
    "disk_filling": "healing.archive_old_data",
}


def test_each_kind_is_answered_by_one_operation_at_most() -> None:
    declared = [(kind, one.name) for one in OPERATIONS.values() for kind in one.called_for_by]

    assert sorted(declared) == sorted(ANSWERS.items())
    assert set(ANSWERS) <= set(get_args(FaultKind))


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_the_healer_proposes_what_declares_the_kind_or_calls_a_person(
    kind: FaultKind, clock: FakeClock
) -> None:
    fleet = FakeInfrastructure(clock).fleet()
    archivable = [replace(one, archivable=(Path("exports"),)) for one in fleet.services]
    fleet = replace(fleet, services=tuple(archivable))
    target = "catalog:data" if kind == "disk_filling" else "catalog/catalog-1"
    view = IncidentView.model_construct(
        id="inc-1", service="catalog", replica="catalog-1", target=target, kind=kind, cause=""
    )

    intention, why_not = remedy(view, fleet)

    if kind in ANSWERS:
        assert intention is not None
        assert intention.operation == intention.warrant.operation == ANSWERS[kind]
        assert intention.warrant.target == target
    else:
        assert intention is None
        assert "a person must look at it" in why_not

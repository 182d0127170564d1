"""Where each operation stands, on what, and how its evidence grew."""

from typing import Any

import pytest

from tests.fakes.gatekeeping import TURN
from tests.fakes.proof import SUITE, Proof
from tools.autonomy import suite_runs
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.levels import get_operation, list_operations


async def test_levels_say_where_each_operation_stands_and_what_would_change_it(
    proof: Proof,
) -> None:
    async def level() -> Any:
        async with proof.desk.database.unit_of_work() as session:
            operations = proof.desk.gatekeeper.driver.operations
            found = await list_operations(session, proof.desk.staff, operations, proof.evidence)
            return next(one for one in found if one.name == TURN)

    before = await level()
    await earn_as_engine(proof)
    after = await level()
    async with proof.desk.database.unit_of_work() as session:
        operations = proof.desk.gatekeeper.driver.operations
        detail = await get_operation(session, proof.desk.staff, operations, proof.evidence, TURN)

    assert (before.level, before.trials) == ("asks", 0)
    assert "Trials of the suite dials" in before.change or "17" in before.change
    assert (after.level, after.trials, after.next_look) == ("runs", 17, 34)
    assert [case.case for case in detail.cases] == ["poplar", "willow"]
    assert detail.regions
    assert detail.parts["suite"].startswith("dials")


async def test_the_page_of_one_operation_reads_its_evidence_once(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    about = proof.evidence.about

    async def counted(operation: Any, *rest: Any) -> EvidenceFacts:
        asked.append(operation.name)
        return await about(operation, *rest)

    monkeypatch.setattr(proof.evidence, "about", counted)
    operations = proof.desk.gatekeeper.driver.operations
    async with proof.desk.database.unit_of_work() as session:
        await get_operation(session, proof.desk.staff, operations, proof.evidence, TURN)
    one = list(asked)
    async with proof.desk.database.unit_of_work() as session:
        await list_operations(session, proof.desk.staff, operations, proof.evidence)

    assert one == [TURN]
    assert sorted(asked[1:]) == sorted(operations)


async def test_the_history_counts_on_and_keeps_the_bound_between_looks(proof: Proof) -> None:
    await proof.earn(2, passed=False)
    await proof.earn(17, first=2)
    await proof.earn(1, first=19, harmful=True)
    under = proof.evidence.fingerprint(proof.operation, "person").digest
    async with proof.desk.database.unit_of_work() as session:
        points = await suite_runs.history(
            session, proof.desk.staff, TURN, under, risk="low", floors=SUITE.operations[TURN]
        )

    assert [point.worlds for point in points] == list(range(1, 21))
    assert [point.passed for point in points] == [0, 0, *range(1, 18), 17]
    assert {point.bound for point in points[:16]} == {None}
    assert len({point.bound for point in points[16:]}) == 1
    assert points[16].bound is not None
    assert 0.5 < points[16].bound < 0.8


async def earn_as_engine(proof: Proof) -> None:
    """The same trials for what engines decide."""
    person = proof.evidence.fingerprint

    def engine(operation: Any, decided_by: Any) -> Any:
        return person(operation, "engine")

    proof.evidence.fingerprint = engine  # type: ignore[method-assign]
    await proof.earn()
    proof.evidence.fingerprint = person  # type: ignore[method-assign]

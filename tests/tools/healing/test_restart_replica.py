"""Restarting a replica: on values for what is refused, on real processes for what happens."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FakeInfrastructure
from tests.fakes.supervised import ANSWERS, BROKEN, STUBBORN, Supervised, free_port, python
from tools.adapters.local import LocalInfrastructure
from tools.healing.operations import build_operations
from tools.healing.restart_replica import RestartArguments, RestartReplica
from tools.kit.clock import SystemClock
from tools.kit.errors import CapabilityError, Conflict, Forbidden, NotFound, Unavailable
from tools.kit.operation import OperationContext

FLEET = """
[fleet]
title = "Test"
[[service]]
name = "catalog"
title = "Catalog"
program = "nowhere"
replicas = 2
health_path = "/healthz"
minimum_healthy = 1
[[service]]
name = "worker"
title = "Worker"
program = "nowhere"
replicas = 1
http = false
[[service]]
name = "broken"
title = "Broken"
program = "nowhere"
replicas = 1
http = false
"""


@pytest.fixture
def operation(tmp_path: Path) -> RestartReplica:
    found = build_operations(archive_folder=tmp_path)["healing.restart_replica"]
    assert isinstance(found, RestartReplica)
    return found


@pytest.fixture
def context(infrastructure: FakeInfrastructure, clock: FakeClock) -> OperationContext:
    return OperationContext(infrastructure, clock)


def wanted(replica: str = "catalog-1", service: str = "catalog") -> RestartArguments:
    return RestartArguments(service=service, replica=replica)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (wanted(service="shop"), NotFound, "Services: catalog, player, worker, postgres"),
        (wanted("catalog-9"), NotFound, "Replicas: catalog-1, catalog-2"),
        (wanted("player-1"), NotFound, "Replicas: catalog-1, catalog-2"),
        (wanted("postgres", "postgres"), Forbidden, "only agents and web"),
    ],
)
async def test_what_can_not_be_restarted_is_refused_naming_what_can(
    operation: RestartReplica,
    context: OperationContext,
    arguments: RestartArguments,
    error: type[CapabilityError],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        await operation.plan(context, arguments)


async def test_a_supervisor_that_says_nothing_means_no_plan(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.supervisor_up = False
    with pytest.raises(Unavailable):
        await operation.plan(context, wanted())


async def test_the_plan_shows_the_old_process_the_new_one_and_who_answers_meanwhile(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.freeze("catalog-1")
    plan = await operation.plan(context, wanted())
    pid = infrastructure.pid("catalog-1")
    assert plan.target == "catalog/catalog-1"
    assert plan.diff == [
        f"- catalog-1: process {pid}, started 08:00:00, does not answer: “timeout”, "
        "stopped by a signal (state T)",
        "+ catalog-1: a new process, answering /healthz",
        "  while it restarts, 1 of 1 other replicas answer",
    ]
    assert plan.state["pid"] == pid
    assert plan.region["fault"] == "silent"


async def test_nothing_happens_to_another_process_than_the_planned_one(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    plan = await operation.plan(context, wanted())
    infrastructure.start("catalog-1")
    check = await operation.precondition(context, wanted(), plan)
    assert not check.ok
    assert "has changed since the plan" in check.text
    with pytest.raises(Conflict):
        await operation.apply(context, wanted(), plan, "act-1")
    assert infrastructure.restarted == []


async def test_a_replica_that_answers_again_is_left_alone(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.freeze("catalog-1")
    plan = await operation.plan(context, wanted())
    infrastructure.thaw("catalog-1")
    check = await operation.precondition(context, wanted(), plan)
    assert not check.ok
    assert "answers again" in check.text


async def test_the_last_answering_replica_is_not_restarted(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    plan = await operation.plan(context, wanted())
    infrastructure.freeze("catalog-2")
    check = await operation.precondition(context, wanted(), plan)
    assert not check.ok
    assert "1 must stay up" in check.text


async def test_observe_answers_from_the_world_alone(
    operation: RestartReplica,
    context: OperationContext,
    infrastructure: FakeInfrastructure,
    clock: FakeClock,
) -> None:
    plan = await operation.plan(context, wanted())
    assert await operation.observe(context, wanted(), plan, "act-1") == "not_done"
    infrastructure.stop("catalog-1")
    assert await operation.observe(context, wanted(), plan, "act-1") == "half_done"
    clock.advance(seconds=3)
    infrastructure.start("catalog-1")
    assert await operation.observe(context, wanted(), plan, "act-1") == "done"
    infrastructure.supervisor_up = False
    assert await operation.observe(context, wanted(), plan, "act-1") == "unknown"


async def test_verify_looks_at_the_world_and_not_at_what_apply_said(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    plan = await operation.plan(context, wanted())
    said = {"old_pid": 1, "new_pid": 2}
    same = await operation.verify(context, wanted(), plan, said)
    assert not same.ok
    infrastructure.heals = False
    effect = await operation.apply(context, wanted(), plan, "act-1")
    silent = await operation.verify(context, wanted(), plan, effect)
    assert not silent.ok
    assert "does not answer" in silent.text
    infrastructure.thaw("catalog-1")
    assert (await operation.verify(context, wanted(), plan, {"observed_after": "a crash"})).ok


async def test_undo_says_that_there_is_nothing_to_undo(
    operation: RestartReplica, context: OperationContext
) -> None:
    plan = await operation.plan(context, wanted())
    check = await operation.undo(context, wanted(), plan, {}, "act-1")
    assert not check.ok
    assert operation.reversibility == "nothing_to_undo"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[Supervised, OperationContext]]:
    home = tmp_path / "a home with spaces"
    ports = {"catalog-1": free_port(), "catalog-2": free_port()}
    programs = {name: python(ANSWERS, port) for name, port in ports.items()}
    programs |= {"worker-1": python(STUBBORN), "broken-1": python(BROKEN)}
    supervised = Supervised(home, programs, options={"worker-1": "stopwaitsecs=1"})
    supervised.write_ports(ports)
    (home / "fleet.toml").write_text(FLEET)
    supervised.start()
    for name in ("catalog-1", "catalog-2", "worker-1"):
        supervised.wait_for(name, "RUNNING")
    infrastructure = LocalInfrastructure(
        home / "fleet.toml", home, supervised.ports_file, supervised.socket
    )
    yield supervised, OperationContext(infrastructure, SystemClock())
    supervised.stop()


async def frozen_by_now(context: OperationContext, name: str) -> None:
    """A signal takes effect a moment after it is sent."""
    for _ in range(500):
        if (await context.infrastructure.processes())[name].stopped_by_signal:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} is not stopped")


async def holds(
    operation: RestartReplica, context: OperationContext, arguments: RestartArguments, plan: object
) -> str:
    """The text of the first check that holds."""
    for _ in range(100):
        check = await operation.verify(context, arguments, plan, {})  # type: ignore[arg-type]
        if check.ok:
            return check.text
        await asyncio.sleep(0.1)
    raise AssertionError(check.text)


async def test_a_frozen_process_is_replaced_by_one_that_answers(
    operation: RestartReplica, real: tuple[Supervised, OperationContext]
) -> None:
    supervised, context = real
    pid = supervised.wait_for("catalog-1", "RUNNING")
    assert pid is not None
    plan = await operation.plan(context, wanted())
    os.kill(pid, signal.SIGSTOP)
    await frozen_by_now(context, "catalog-1")
    frozen = await operation.plan(context, wanted())
    assert "state T" in frozen.diff[0]
    assert plan.state["pid"] == frozen.state["pid"] == pid
    assert (await operation.precondition(context, wanted(), frozen)).ok
    assert await operation.observe(context, wanted(), frozen, "act-1") == "not_done"

    effect = await operation.apply(context, wanted(), frozen, "act-1")

    assert effect["old_pid"] == pid
    assert await operation.observe(context, wanted(), frozen, "act-1") == "done"
    assert "answers /healthz" in await holds(operation, context, wanted(), frozen)
    with pytest.raises(Conflict):
        await operation.apply(context, wanted(), frozen, "act-1")


@pytest.mark.parametrize("ended", [True, False])
async def test_a_restart_cut_between_stop_and_start_is_completed(
    operation: RestartReplica, real: tuple[Supervised, OperationContext], ended: bool
) -> None:
    """The worker ignores being asked to end: nobody has killed it when its restarter dies."""
    supervised, context = real
    name, service = ("catalog-1", "catalog") if ended else ("worker-1", "worker")
    old = supervised.wait_for(name, "RUNNING")
    plan = await operation.plan(context, wanted(name, service))
    supervised.supervisor.stop(name)
    if ended:
        supervised.wait_for(name, "STOPPED")
    assert await operation.observe(context, wanted(name, service), plan, "act-1") == "half_done"

    effect = await operation.apply(context, wanted(name, service), plan, "act-1")

    new = supervised.wait_for(name, "RUNNING")
    assert (effect["old_pid"], effect["new_pid"]) == (old, new)
    assert new != old
    assert await operation.observe(context, wanted(name, service), plan, "act-1") == "done"


async def test_completing_a_restart_never_stops_a_process_that_started_since(
    operation: RestartReplica,
    context: OperationContext,
    infrastructure: FakeInfrastructure,
    clock: FakeClock,
) -> None:
    plan = await operation.plan(context, wanted())
    infrastructure.stop("catalog-1")
    clock.advance(seconds=3)
    infrastructure.start("catalog-1")
    # Its pid has come round again: the start time tells it from the planned one.
    fresh = infrastructure.replicas["catalog-1"]
    fresh.facts = replace(fresh.facts, pid=plan.state["pid"])

    with pytest.raises(Conflict, match="not as planned"):
        await operation.apply(context, wanted(), plan, "act-1")

    assert infrastructure.restarted == []
    assert await operation.observe(context, wanted(), plan, "act-1") == "done"


async def test_what_did_not_run_before_is_not_half_restarted(
    operation: RestartReplica, context: OperationContext, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.stop("catalog-1")
    plan = await operation.plan(context, wanted())
    assert await operation.observe(context, wanted(), plan, "act-1") == "not_done"
    retried = plan.model_copy(update={"state": {**plan.state, "status": "backoff"}})
    assert await operation.observe(context, wanted(), retried, "act-1") == "half_done"


async def test_a_worker_that_ignores_being_asked_to_end_is_killed_and_started(
    operation: RestartReplica, real: tuple[Supervised, OperationContext]
) -> None:
    _, context = real
    arguments = wanted("worker-1", "worker")
    plan = await operation.plan(context, arguments)
    await operation.apply(context, arguments, plan, "act-1")
    assert "no HTTP door" in await holds(operation, context, arguments, plan)


async def test_a_program_that_ends_at_once_is_not_done(
    operation: RestartReplica, real: tuple[Supervised, OperationContext]
) -> None:
    supervised, context = real
    supervised.wait_for("broken-1", "FATAL")
    arguments = wanted("broken-1", "broken")
    plan = await operation.plan(context, arguments)
    assert plan.diff[0].startswith("- broken-1: no process (")
    with pytest.raises(Unavailable):
        await operation.apply(context, arguments, plan, "act-1")
    supervised.wait_for("broken-1", "FATAL")
    assert await operation.observe(context, arguments, plan, "act-1") == "not_done"
    assert not (await operation.verify(context, arguments, plan, {})).ok

"""Who drives an action: told to be gone or not, and kept out of the record once replaced."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.driving import KEY, Bench
from tools.kit import leases
from tools.kit.errors import Conflict
from tools.kit.leases import LEASE, Hold, driving, is_gone
from tools.kit.ledger import Superseded

DRIVES = """
import sys
from tools.kit.leases import driving
with driving() as holder:
    print(holder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process of this machine that drives, and the name it drives under."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout
    holder = process.stdout.readline().strip()
    yield process, holder
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        pipe.close()


def test_a_drive_of_our_own_is_gone_when_it_has_ended() -> None:
    with driving() as first, driving() as second:
        assert first != second
        assert not is_gone(first)
    assert is_gone(first)
    assert is_gone(second)


def test_a_drive_of_another_process_is_gone_when_that_is_killed(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    process, holder = other
    assert not is_gone(holder)
    os.kill(process.pid, signal.SIGSTOP)
    assert not is_gone(holder), "a stopped process may go on"

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(holder), "a zombie drives nothing"
    process.wait()
    assert is_gone(holder)


def test_a_pid_that_came_round_again_is_another_process(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    machine, pid, started, token = other[1].split(":")
    assert is_gone(f"{machine}:{pid}:{int(started) - 1}:{token}")
    assert is_gone(f"{machine}:{os.getpid()}:{int(started) - 1}:{token}")


@pytest.mark.parametrize("machine", ["0123456789abcdef", ""])
def test_of_another_machine_nothing_is_told(machine: str) -> None:
    assert not is_gone(f"{machine}:999999999:1:token")


def test_a_name_that_is_none_is_told_nothing_of() -> None:
    with driving() as holder:
        ours = holder.split(":")[0]
    for broken in ("", "nobody", ours, f"{ours}:x:1:t", f"{ours}:1::t"):
        assert not is_gone(broken)


async def test_who_is_at_work_is_left_alone_by_one_without_its_locks(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "here")
    begun, go_on = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(paused(bench, begun, go_on))
    await begun.wait()

    other = bench.driver(tmp_path / "there")
    assert await other.recover("agents") == []
    with pytest.raises(Conflict, match="Somebody is driving"):
        await other.drive(KEY)

    go_on.set()
    assert await task == "verified"
    assert bench.world.applied == {KEY: 1}


async def test_who_was_replaced_writes_no_outcome_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "here")
    begun, go_on = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(paused(bench, begun, go_on))
    await begun.wait()
    bench.notebook.run_out_of(KEY)

    [settled] = await bench.driver(tmp_path / "there").recover("agents")
    assert settled.state == "failed"
    go_on.set()
    with pytest.raises(Superseded, match="has taken act-1 over"):
        await task

    assert bench.state == "failed"
    assert bench.notebook.history == ["intended", "failed"]


async def paused(bench: Bench, begun: asyncio.Event, go_on: asyncio.Event) -> str:
    """Drive with an effect that waits between intent and effect."""
    apply = bench.operation.apply

    async def waits(*given: Any) -> dict[str, Any]:
        begun.set()
        await go_on.wait()
        return await apply(*given)

    bench.operation.apply = waits  # type: ignore[method-assign]
    return await bench.drive()


async def test_a_lease_is_renewed_while_the_effect_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY", timedelta(milliseconds=1))
    bench = Bench(tmp_path)
    renewed, go_on = asyncio.Event(), asyncio.Event()
    renew, failures = bench.notebook.renew, [1, 1]

    async def counted(action_id: str, holder: str) -> None:
        if failures:
            failures.pop()
            raise OSError("the store is away")
        await renew(action_id, holder)
        renewed.set()

    bench.notebook.renew = counted  # type: ignore[method-assign]
    task = asyncio.create_task(paused(bench, asyncio.Event(), go_on))
    await renewed.wait()
    assert not bench.notebook.run_out
    go_on.set()

    assert await task == "verified"
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, "nothing is renewed after the drive"


async def test_a_lease_that_may_have_run_out_is_asked_for_before_the_effect(
    tmp_path: Path,
) -> None:
    """The process slept between intent and effect, and somebody took its place."""
    bench = Bench(tmp_path)
    driver = bench.driver()
    begin = bench.notebook.begin

    async def slept(*given: Any) -> Any:
        action = await begin(*given)
        await driver.pause(LEASE.total_seconds())
        bench.notebook.leases[KEY] = "somebody else"
        return action

    bench.notebook.begin = slept  # type: ignore[method-assign]
    with pytest.raises(Superseded):
        await driver.drive(KEY)
    assert bench.world.applied.total() == 0


async def test_a_fresh_lease_is_not_asked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    now = [0.0]
    async with Hold(bench.notebook, KEY, "me", lambda: now[0]) as hold:
        await hold.begin("apply")
        bench.notebook.leases[KEY] = "somebody else"
        now[0] += LEASE.total_seconds() - 0.1
        await hold.require()
        now[0] += 0.1
        with pytest.raises(Superseded):
            await hold.require()

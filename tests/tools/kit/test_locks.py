"""File locks per target, held across processes and let go by a death."""

import asyncio
import sys
from pathlib import Path

import pytest

from tools.kit.errors import Conflict
from tools.kit.locks import held, is_held

HOLD = """
import sys, time
from pathlib import Path
from tools.kit.locks import held
with held(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_target_is_held_once_and_others_are_free(tmp_path: Path) -> None:
    with held(tmp_path, "catalog/catalog-1"):
        with (
            pytest.raises(Conflict, match="catalog/catalog-1"),
            held(tmp_path, "catalog/catalog-1"),
        ):
            pytest.fail("held twice")
        assert is_held(tmp_path, "catalog/catalog-1")
        assert not is_held(tmp_path, "catalog/catalog-2")

    assert not is_held(tmp_path, "catalog/catalog-1")


def test_any_text_can_be_a_target(tmp_path: Path) -> None:
    for target in ("../../etc/passwd", "ü" * 500, "a/b c:d", ""):
        with held(tmp_path / "locks", target):
            assert is_held(tmp_path / "locks", target)

    assert {path.parent for path in tmp_path.rglob("*.lock")} == {tmp_path / "locks"}


async def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), "a", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert await process.stdout.readline() == b"held\n"
    assert is_held(tmp_path, "a")

    process.kill()
    await process.wait()

    assert not is_held(tmp_path, "a")

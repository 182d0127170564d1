"""What a turn takes over from the ones before it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphs.state import PendingCall, StepState, TurnState
from graphs.supervisor import Services, _closed, _taint
from tools.kit.gatekeeper import Settled


class Standing:
    """A gatekeeper that knows one question."""

    def __init__(self, standing: str, *states: str) -> None:
        self.answer = (standing, [Settled("act", "op", "catalog", s, s) for s in states])

    async def standing(self, approval_id: str) -> tuple[str, list[Settled]]:
        return self.answer


def test_outside_text_that_one_specialist_read_taints_them_all() -> None:
    """The router looks back on what each has said, and words the next one's task."""
    state = TurnState(taints={"healer": ["a log"], "tutor": [], "author": ["a page", "a log"]})

    assert _taint(state).sources == ["a log", "a page"]
    assert not _taint(TurnState(taints={"healer": []}))
    assert not _taint(TurnState())


@pytest.mark.parametrize(
    ("standing", "states", "found"),
    [
        ("approved", ["verified", "failed"], ["a log", "what became of Restart catalog"]),
        ("approved", ["verified", "undone"], ["a log"]),
        ("denied", ["denied"], ["a log"]),
        ("withdrawn", ["withdrawn"], ["a log"]),
    ],
)
async def test_what_became_of_a_question_taints_where_it_may_repeat_the_world(
    standing: str, states: list[str], found: list[str]
) -> None:
    state = TurnState(
        steps=[StepState(specialist="healer", task="restart catalog")],
        position=0,
        taints={"healer": ["a log"]},
        pending=[
            PendingCall(
                tool_call_id="call",
                tool="restart_replica",
                approval_id="apr",
                digest="d",
                title="Restart catalog",
                purpose="apply",
            )
        ],
    )
    services: Any = SimpleNamespace(gatekeeper=Standing(standing, *states))

    left = await _closed(state, cast(Services, services))

    assert left["taints"] == {"healer": found}

"""Remembering and recalling: one tenant each, bounds, secrets, and what fails is said."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memory.errors import StoreError, StoreUnavailable
from memory.vectors.collections import VectorStore
from memory.vectors.embeddings import embed, similarity
from memory.vectors.recall import Recall
from tests.fakes.clock import FakeClock
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden, Invalid, Unavailable
from tools.kit.tool_deps import Memory
from tools.recall.policy import LEAST_SIMILARITY, MAX_TEXT
from tools.recall.service import RecallService

REPORTS = {
    "inc-1": "Replica catalog-1 of catalog hangs: it accepts connections and never answers.",
    "inc-2": "The data folder of worker is 92 percent full. Old files were archived, 40 MB freed.",
    "inc-3": "Replica player-2 stopped and stays stopped. A restart was approved by Ada.",
}
QUESTIONS = {
    "why does catalog hang?": "inc-1",
    "disk full on worker": "inc-2",
    "was anything archived": "inc-2",
    "who approved the restart": "inc-3",
}
ADA = Caller(
    tenant_id="ten-1",
    tenant_slug="dynasty",
    person_id="per-1",
    name="Ada",
    roles=frozenset({"staff"}),
    fleet=True,
)


class Broken:
    """A store that fails in a given way."""

    def __init__(self, error: StoreError) -> None:
        self.error = error

    async def add(self, *args: Any, **more: Any) -> int:
        raise self.error

    async def query(self, *args: Any, **more: Any) -> list[Any]:
        raise self.error

    async def delete(self, *args: Any, **more: Any) -> bool:
        raise self.error


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RecallService]:
    store = Recall(VectorStore(tmp_path / "chroma"))
    await store.open()
    yield RecallService(store, FakeClock())
    await store.close()


@pytest.mark.parametrize(("question", "report"), QUESTIONS.items())
def test_the_threshold_parts_what_is_meant_from_what_is_not(question: str, report: str) -> None:
    near = {one: similarity(embed(question), embed(text)) for one, text in REPORTS.items()}
    assert max(near, key=near.__getitem__) == report
    assert near[report] > LEAST_SIMILARITY + 0.05
    for text in ("bananas and apples", "what is the weather like"):
        for said in REPORTS.values():
            assert similarity(embed(text), embed(said)) < LEAST_SIMILARITY


async def test_what_was_remembered_is_recalled_with_id_nearness_and_source(
    service: RecallService,
) -> None:
    for one, text in REPORTS.items():
        await service.remember(ADA, one, text, kind="incidents", source=f"incident {one}")
    for question, report in QUESTIONS.items():
        found = await service.recall(ADA, question)
        assert found[0].id == report
        assert found[0].similarity > LEAST_SIMILARITY
        assert found[0].source == f"incident {report}"
    assert await service.recall(ADA, "bananas and apples") == []


async def test_another_tenant_recalls_nothing(service: RecallService) -> None:
    await service.remember(ADA, "inc-1", REPORTS["inc-1"], kind="notes")
    assert await service.recall(replace(ADA, tenant_id="ten-2"), REPORTS["inc-1"]) == []


async def test_kinds_are_recalled_together_or_apart(service: RecallService) -> None:
    await service.remember(ADA, "a", REPORTS["inc-1"], kind="notes")
    await service.remember(ADA, "b", REPORTS["inc-1"] + " Again.", kind="findings")
    assert [one.id for one in await service.recall(ADA, REPORTS["inc-1"])] == ["a", "b"]
    only = await service.recall(ADA, REPORTS["inc-1"], kinds=["findings"])
    assert [(one.id, one.kind) for one in only] == [("b", "findings")]
    assert len(await service.recall(ADA, REPORTS["inc-1"], limit=1)) == 1
    assert await service.forget(ADA, "a", kind="notes")
    assert not await service.forget(ADA, "a", kind="notes")


async def test_secrets_are_forgotten_at_once(service: RecallService) -> None:
    await service.keep(ADA, "a", "catalog hangs; password=hunter2hunter2", kind="notes")
    notes = await service.search(ADA, "catalog hangs")
    assert "hunter2" not in notes[0].text


async def test_a_long_text_keeps_its_ends_and_says_what_is_left_out(
    service: RecallService,
) -> None:
    await service.remember(ADA, "a", "catalog hangs " + ". " * MAX_TEXT + "the end", kind="notes")
    text = (await service.recall(ADA, "catalog hangs the end"))[0].text
    assert len(text) <= MAX_TEXT
    assert "characters left out" in text
    assert text.endswith("the end")


async def test_what_is_wrong_is_said(service: RecallService) -> None:
    with pytest.raises(Forbidden, match="staff"):
        await service.recall(replace(ADA, roles=frozenset({"learner"})), "x")
    with pytest.raises(Invalid, match="incidents, notes, findings"):
        await service.keep(ADA, "a", "x", kind="secrets")
    with pytest.raises(Invalid, match="empty"):
        await service.keep(ADA, "a", " ", kind="notes")
    with pytest.raises(Invalid, match="1 to 20"):
        await service.recall(ADA, "x", limit=21)


async def test_a_store_that_is_away_is_unavailable() -> None:
    service = RecallService(Broken(StoreUnavailable("not open")), FakeClock())
    with pytest.raises(Unavailable):
        await service.recall(ADA, "x")
    with pytest.raises(Unavailable):
        await service.keep(ADA, "a", "x", kind="notes")
    with pytest.raises(Unavailable):
        await service.forget(ADA, "a", kind="notes")


def test_agents_hold_it_as_their_memory() -> None:
    memory: Memory = RecallService(Broken(StoreError("x")), FakeClock())
    assert memory is not None

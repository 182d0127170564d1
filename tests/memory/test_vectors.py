"""Vector memory: the embedding, redaction, and collections of a real Chroma folder."""

import math
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import StoreError, StoreUnavailable
from memory.vectors.collections import VectorStore, collection_name
from memory.vectors.embeddings import DIMENSIONS, embed, similarity
from memory.vectors.recall import MAX_TEXT, Recall
from memory.vectors.redaction import redact

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HUNG = "Replica catalog-1 of catalog hangs: it accepts connections and never answers. Restarted."
DISK = "The data folder of worker is 92 percent full. Old files were archived, 40 MB freed."


@pytest.fixture
async def recall(tmp_path: Path) -> AsyncIterator[Recall]:
    opened = Recall(VectorStore(tmp_path / "chroma"))
    await opened.open()
    yield opened
    await opened.close()


@given(st.text(max_size=300))
def test_a_vector_has_length_one_or_is_zero_and_never_changes(text: str) -> None:
    vector = embed(text)
    length = math.sqrt(sum(x * x for x in vector))
    assert len(vector) == DIMENSIONS
    assert length == 0 or math.isclose(length, 1, abs_tol=1e-9)
    assert vector == embed(text)


def test_a_vector_is_the_same_in_another_process() -> None:
    script = (
        "from memory.vectors.embeddings import embed\n"
        f"print(sum(i * x for i, x in enumerate(embed({HUNG!r}))))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert math.isclose(float(out.stdout), sum(i * x for i, x in enumerate(embed(HUNG))))


def test_texts_about_the_same_thing_are_nearer_than_others() -> None:
    same = similarity(embed(HUNG), embed("player-2 accepts connections but never answers"))
    other = similarity(embed(HUNG), embed("Invoices are sent on the first of the month"))
    assert same > 0.3
    assert other < 0.12


def test_case_and_accents_make_no_difference() -> None:
    assert embed("¿Qué PASÓ?") == embed("que paso")


SECRETS = [
    "password=hunter2hunter2",
    "my password is hunter2hunter2",
    "the api_key: 'hunter2hunter2'",
    '{"client_secret": "hunter2hunter2"}',
    "Authorization: Bearer hunter2hunter2",
    "postgresql://postgres:hunter2hunter2@localhost/db",
    "use dak_hunter2hunter2 for the command line",
    "OPENAI sk-hunter2hunter2",
    "http://127.0.0.1:8400/signin/hunter2hunter2",
    "ghp_hunter2hunter2hunter2",
    "POSTGRES_PASSWORD=hunter2hunter2",
    "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2 and cut off",
    "eyJhbGciOiJIUzI1NiJ9.hunter2hunter2.hunter2hunter2",
    "la contraseña es hunter2hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_taken_out(text: str) -> None:
    clean = redact(f"before {text} after")
    assert "hunter2" not in clean.text
    assert clean.count >= 1
    assert clean.text.startswith("before")


def test_ordinary_reports_are_left_alone() -> None:
    for text in (
        HUNG,
        DISK,
        "The token of appreciation was a book.",
        "Who approved act-7k2m9qh4xw3c?",
    ):
        assert redact(text).text == text


def test_redacting_long_text_takes_linear_time() -> None:
    redact("a" * 200_000)
    redact("password " * 20_000)
    redact("-----BEGIN PRIVATE KEY-----" * 2_000)


@pytest.mark.parametrize("name", ["", "../x", "Ten-1", "ten_1", "a" * 65, "ten-1.notes", "-ten"])
def test_a_tenant_id_that_could_name_another_collection_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="tenant id"):
        collection_name(name, "notes")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StoreError, match="no kind of memory"):
        collection_name("ten-1", "secrets")  # type: ignore[arg-type]


async def test_what_was_remembered_is_found_with_its_nearness(recall: Recall) -> None:
    await recall.add("ten-1", "incidents", "inc-1", HUNG, at=NOW, metadata={"source": "healer"})
    await recall.add("ten-1", "incidents", "inc-2", DISK, at=NOW)
    found = await recall.query("ten-1", "incidents", "why does catalog hang?", limit=2)
    assert found[0].id == "inc-1"
    assert found[0].similarity > found[-1].similarity or len(found) == 1
    assert found[0].at == NOW
    assert found[0].metadata == {"source": "healer"}
    assert await recall.query("ten-1", "incidents", "bananas", least=0.12) == []


async def test_another_tenant_sees_nothing(recall: Recall) -> None:
    await recall.add("ten-1", "notes", "note-1", HUNG, at=NOW)
    assert await recall.query("ten-2", "notes", HUNG) == []
    assert await recall.query("ten-1", "findings", HUNG) == []
    assert await recall.count("ten-2", "notes") == 0


async def test_the_same_id_is_replaced_and_can_be_forgotten(recall: Recall) -> None:
    await recall.add("ten-1", "notes", "note-1", HUNG, at=NOW)
    await recall.add("ten-1", "notes", "note-1", DISK, at=NOW)
    assert await recall.count("ten-1", "notes") == 1
    assert (await recall.query("ten-1", "notes", "full disk"))[0].text == DISK
    assert await recall.delete("ten-1", "notes", "note-1")
    assert not await recall.delete("ten-1", "notes", "note-1")
    assert await recall.count("ten-1", "notes") == 0


async def test_secrets_never_reach_the_disk(recall: Recall, tmp_path: Path) -> None:
    removed = await recall.add(
        "ten-1",
        "notes",
        "note-1",
        "token=hunter2hunter2",
        at=NOW,
        metadata={"by": "pwd=hunter2hunter2"},
    )
    assert removed == 1
    await recall.close()
    for file in (tmp_path / "chroma").rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()


async def test_bounds_are_told(recall: Recall) -> None:
    with pytest.raises(StoreError, match="1 to 8,000 characters"):
        await recall.add("ten-1", "notes", "note-1", "x" * (MAX_TEXT + 1), at=NOW)
    with pytest.raises(StoreError, match="characters"):
        await recall.add("ten-1", "notes", "note-1", "  ", at=NOW)
    with pytest.raises(StoreError, match="1 to 50 memories"):
        await recall.query("ten-1", "notes", "x", limit=51)


async def test_a_full_collection_drops_its_oldest(tmp_path: Path) -> None:
    recall = Recall(VectorStore(tmp_path / "chroma"), limit=10)
    await recall.open()
    for n in range(11):
        await recall.add("ten-1", "notes", f"note-{n}", f"number {n}", at=NOW + timedelta(hours=n))
    assert await recall.count("ten-1", "notes") == 10
    assert not await recall.delete("ten-1", "notes", "note-0")
    await recall.close()


async def test_memories_outlive_the_process(tmp_path: Path) -> None:
    first = Recall(VectorStore(tmp_path / "chroma"))
    await first.open()
    await first.add("ten-1", "notes", "note-1", HUNG, at=NOW)
    await first.close()
    second = Recall(VectorStore(tmp_path / "chroma"))
    await second.open()
    assert [one.id for one in await second.query("ten-1", "notes", "catalog hangs")] == ["note-1"]
    await second.forget_tenant("ten-1")
    assert await second.count("ten-1", "notes") == 0
    await second.close()


async def test_a_second_owner_is_refused(recall: Recall, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Another process"):
        await Recall(VectorStore(tmp_path / "chroma")).open()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="isn't open"):
        await Recall(VectorStore(tmp_path / "chroma")).count("ten-1", "notes")


def test_importing_vector_memory_does_not_import_chroma() -> None:
    script = (
        "import sys, memory.vectors.recall, tools.recall.service; print('chromadb' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"

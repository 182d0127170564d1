"""Recorded exchanges with an endpoint, replayed: what is sent doesn't drift, what comes is read.

`make cassettes` sets ACADEMY_RECORD and records them anew first.
"""

import asyncio
import os
from pathlib import Path

import pytest
import yaml

from agents.endpoint import Endpoint, ModelConfig
from tests.cassettes.record import EXCHANGES, FOLDER, RECORDER, record, recorded_model
from tests.fakes.providers import WORDS

EXPECTED = {"route": "healer"}
CASSETTES = sorted(FOLDER.glob("*.yaml"))
BY_NAME = {exchange.name: exchange for exchange in EXCHANGES}


@pytest.fixture(scope="module", autouse=True)
def recorded_anew() -> None:
    if os.environ.get("ACADEMY_RECORD"):
        asyncio.run(record())


@pytest.fixture
def no_address() -> str:
    """A base URL nobody serves: a request that isn't in the cassette would fail."""
    return "http://replayed.invalid/v1"


@pytest.mark.parametrize("cassette", CASSETTES, ids=lambda path: path.stem)
async def test_a_recorded_exchange_replays(cassette: Path, no_address: str) -> None:
    origin, _, name = cassette.stem.partition("-")
    endpoint = Endpoint(ModelConfig(url=no_address, name=recorded_model(cassette)), playbooks={})
    with RECORDER.use_cassette(str(cassette), record_mode="none") as tape:
        async with endpoint.run("replay"):
            said = await BY_NAME[name].have(endpoint)
        assert tape.all_played
    await endpoint.aclose()
    if origin == "fake":
        assert said == EXPECTED.get(name, WORDS)
    else:
        assert said.strip()


def test_every_exchange_is_recorded() -> None:
    assert {path.stem for path in FOLDER.glob("fake-*.yaml")} == {f"fake-{n}" for n in BY_NAME}


@pytest.mark.parametrize("cassette", CASSETTES, ids=lambda path: path.stem)
def test_a_cassette_says_what_it_is_and_holds_nothing_private(cassette: Path) -> None:
    text = cassette.read_text(encoding="utf-8")
    if cassette.stem.startswith("fake-"):
        assert text.startswith("# Recorded over loopback")
    for private in ("sk-", "bearer", "user-agent", "x-stainless", "127.0.0.1", "set-cookie"):
        assert private not in text.lower()
    for interaction in yaml.safe_load(text)["interactions"]:
        assert set(map(str.lower, interaction["response"]["headers"])) <= {"content-type"}

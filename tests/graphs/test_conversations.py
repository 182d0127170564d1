"""What a person may ask in the chat, end to end with the embedded model."""

from tests.fakes.conversation import Conversation


async def test_what_is_wrong_when_nothing_is(talk: Conversation) -> None:
    words = await talk.ask("what is wrong?")

    assert words.startswith("Nothing is wrong: all 2 services (3 replicas) are healthy")
    assert (await talk.run()).state == "finished"


async def test_what_is_wrong_names_the_replica_the_cause_and_how_long(talk: Conversation) -> None:
    await talk.fleet.hang("catalog-2", talk.control)

    words = await talk.ask("what is wrong?")

    assert "catalog-2 hangs" in words
    assert "for 20 s" in words
    assert "stopped by a signal" in words

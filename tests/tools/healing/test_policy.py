"""Every limit has a sentence that carries its value, and a reason."""

from dataclasses import fields

from tools.healing.policy import HealingPolicy, reasons, sentences


def test_every_sentence_carries_the_value_of_its_limit() -> None:
    policy = HealingPolicy(probe_seconds=7.5)
    said = sentences(policy)
    assert len(said) == len(fields(policy))
    for field, sentence in zip(fields(policy), said, strict=True):
        assert f"{getattr(policy, field.name):g}" in sentence
        assert sentence.endswith(".")
    assert "Every replica is probed every 7.5 s." in said


def test_every_limit_has_a_reason() -> None:
    assert all(len(why) > 20 for why in reasons(HealingPolicy()).values())


def test_a_hung_replica_is_found_within_eight_seconds_by_these_limits() -> None:
    policy = HealingPolicy()
    assert policy.hung_after_misses * policy.probe_seconds + policy.probe_timeout <= 8

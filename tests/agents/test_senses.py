"""Word vectors: the file is the one that was made, and texts of like meaning come near."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from agents.embedded.classifier import Classifier
from agents.embedded.grams import words
from agents.embedded.senses import DIGEST, FILE, Senses

TEXTS = (
    "restart the machine",
    "cook a tasty dinner",
    "which course teaches algebra",
    "the invoice of the customer",
    "update the software package",
)


def senses() -> Senses:
    return Senses([Counter(words(text)) for text in TEXTS])


def near(fitted: Senses, one: str, other: str) -> float:
    return float(fitted.vector(Counter(words(one))) @ fitted.vector(Counter(words(other))))


def test_the_file_is_the_one_that_was_made() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == DIGEST


def test_words_of_like_meaning_come_nearer_than_others() -> None:
    fitted = senses()

    assert near(fitted, "supper", "dinner") > near(fitted, "supper", "invoice")
    assert near(fitted, "a bill for the client", TEXTS[3]) > near(fitted, "a bill", TEXTS[2])


def test_vectors_have_length_one_or_nothing() -> None:
    fitted = senses()

    assert np.linalg.norm(fitted.vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
    assert not fitted.vector(Counter(words("xqzzt vjkrt"))).any()
    assert not fitted.vector(Counter()).any()


def test_a_classifier_knows_a_word_by_its_neighbours() -> None:
    texts = [
        *("boil the rice", "fry an egg", "bake some bread", "grill a steak"),
        *("pay the invoice", "refund the charge", "send the bill", "a discount on the fee"),
    ]
    classifier = Classifier(texts, ["kitchen"] * 4 + ["money"] * 4)

    assert classifier.judge("roast potatoes").ranked[0][0] == "kitchen"
    assert classifier.judge("overdue payments").ranked[0][0] == "money"

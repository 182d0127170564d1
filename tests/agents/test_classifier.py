"""The classifier's algebra, against the slow way of saying the same."""

import numpy as np
import pytest

from agents.embedded.classifier import RIDGE, Classifier

LABELS = ("red", "green", "blue")
TEXTS = [
    f"{verb} the {colour} {thing}"
    for verb in ("paint", "wash", "sell", "carry")
    for colour in LABELS
    for thing in (
        "door",
        "wall",
        "gate",
        "roof",
        "boat",
        "chair",
        "lamp",
        "box",
        "cart",
        "hat",
        "cup",
    )
]
OWNERS = [next(c for c in LABELS if c in text) for text in TEXTS]


def test_a_fitted_example_scores_as_the_linear_system_says() -> None:
    """The blocks of the triangular inverse meet: 132 examples are more than one block."""
    classifier = Classifier(TEXTS, OWNERS)
    scores = np.array([list(classifier.judge(text).scores.values()) for text in TEXTS])
    target = np.where(np.array(OWNERS)[:, None] == np.array(classifier.labels), 1.0, -1.0)
    # (K + ridge) a = y, so K a = y - ridge a; leave-one-out scores give a back.
    gram = classifier._examples.gram().astype(float)
    dual = np.linalg.solve(gram + RIDGE * np.eye(len(TEXTS)), target + 1 / 3)

    assert scores == pytest.approx(gram @ dual - 1 / 3, abs=1e-3)


def test_leaving_one_out_is_what_fitting_without_it_scores() -> None:
    classifier = Classifier(TEXTS, OWNERS)
    gram = classifier._examples.gram().astype(float)
    target = np.where(np.array(OWNERS)[:, None] == np.array(classifier.labels), 1.0, -1.0)
    for out in (0, 57, 131):
        kept = np.arange(len(TEXTS)) != out
        system = gram[np.ix_(kept, kept)] + RIDGE * np.eye(len(TEXTS) - 1)
        dual = np.linalg.solve(system, target[kept] + 1 / 3)

        assert classifier.left_out[out] == pytest.approx(gram[out, kept] @ dual - 1 / 3, abs=1e-3)

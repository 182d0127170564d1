"""A text classifier in numpy: likeness over several views of a text, kernel ridge regression.

Two texts are as alike as their TF-IDF vectors in each view of `grams`; the cube of that, (1 + k)^3
/ 8, lets the model weigh grams that occur together. Fitting is one linear solve over the examples.
Probabilities are calibrated on leave-one-out scores, which ridge regression gives in closed form:
example i's score without itself is y_i - a_i / (G^-1)_ii with G = K + lambda W^-1 and a = G^-1 y
(Rifkin and Lippert, Notes on Regularized Least Squares, 2007). So no example vouches for itself.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.embedded.grams import VIEWS, count_grams

Floats = NDArray[np.float64]

RIDGE = 0.1
"""Best of 0.03, 0.1 and 0.3 on held-out parts of CLINC150's training data; the figure is flat."""
POWER = 3
"""Power of the kernel: 1 was a hundredth less accurate there, 5 the same."""


@dataclass(frozen=True)
class Judgement:
    """Probabilities of the labels for one text, and how familiar the text is."""

    probabilities: dict[str, float]
    familiarity: float
    """Share of its character trigrams that occur in the examples: low for noise, 1 at most."""

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Labels with probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])


class Classifier:
    """Fitted on labelled texts; immutable afterwards."""

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], *, ridge: float = RIDGE
    ) -> None:
        if len(texts) != len(labels) or len(set(labels)) < 2:
            raise ValueError("A classifier needs one label per text and at least two labels.")
        self.labels = tuple(sorted(set(labels)))
        self._examples = _Examples([count_grams(text) for text in texts])
        gram = np.stack([self._examples.kernel(row) for row in self._examples.vectors])
        sizes = Counter(labels)
        gram[np.diag_indices_from(gram)] += np.array(
            [ridge * sizes[y] * len(self.labels) / len(labels) for y in labels], dtype=np.float32
        )
        inverse = np.linalg.inv(gram)
        target = np.full((len(texts), len(self.labels)), -1.0, dtype=np.float32)
        truth = np.array([self.labels.index(y) for y in labels])
        target[np.arange(len(texts)), truth] = 1.0
        self._bias = 2 / len(self.labels) - 1
        self._dual = inverse @ (target - np.float32(self._bias))
        left_out = (target - self._dual / np.diag(inverse)[:, None]).astype(np.float64)
        self.scale = _best_scale(left_out, truth)
        self.left_out = softmax(left_out * self.scale)
        """Leave-one-out probabilities of the examples, a row each, columns as `labels`."""

    def judge(self, text: str) -> Judgement:
        """The labels' probabilities for *text*; work is bounded whatever its length."""
        counts = count_grams(text)
        alike = self._examples.kernel(self._examples.vector(counts))
        scores = (alike @ self._dual).astype(np.float64) + self._bias
        chances = softmax(scores[None, :] * self.scale)[0]
        total = counts["part"].total()
        known = sum(n for gram, n in counts["part"].items() if self._examples.knows(gram))
        return Judgement(
            probabilities={k: float(p) for k, p in zip(self.labels, chances, strict=True)},
            familiarity=known / total if total else 0.0,
        )


@dataclass(frozen=True)
class _Vector:
    """The known grams of one text: column numbers and weights; the length of all is 1."""

    columns: NDArray[np.int32]
    weights: NDArray[np.float32]


class _Examples:
    """The examples' vectors, held by gram: which examples have it, and with what weight."""

    def __init__(self, counted: Sequence[dict[str, Counter[str]]]) -> None:
        self._size = len(counted)
        seen = Counter(gram for counts in counted for view in counts.values() for gram in view)
        self._column = {gram: column for column, gram in enumerate(seen)}
        often = np.fromiter(seen.values(), dtype=np.float64, count=len(seen))
        # The last place is that of a gram no example has: column -1.
        self._idf = np.append(np.log((1 + self._size) / (1 + often)), math.log(1 + self._size)) + 1
        self.vectors = [self.vector(counts) for counts in counted]
        columns = np.concatenate([one.columns for one in self.vectors])
        order = np.argsort(columns, kind="stable")
        rows = np.repeat(np.arange(self._size), [len(one.columns) for one in self.vectors])
        self._rows = rows[order].astype(np.int32)
        self._weights = np.concatenate([one.weights for one in self.vectors])[order]
        self._starts = np.searchsorted(columns[order], np.arange(len(seen) + 1))

    def knows(self, gram: str) -> bool:
        """Whether an example has *gram*."""
        return gram in self._column

    def vector(self, counts: dict[str, Counter[str]]) -> _Vector:
        """TF-IDF in each view, every view that isn't empty at its share.

        Grams no example has count towards a view's length, so that a text of mostly new words is
        like none.
        """
        present = sum(share for view, share in VIEWS.items() if counts[view])
        columns, weights = [], []
        for view, share in VIEWS.items():
            if not (grams := counts[view]):
                continue
            places = np.array([self._column.get(gram, -1) for gram in grams], dtype=np.int32)
            weight = (1 + np.log(np.fromiter(grams.values(), float, len(grams)))) * self._idf[
                places
            ]
            weight *= math.sqrt(share / present / float(weight @ weight))
            known = places >= 0
            columns.append(places[known])
            weights.append(weight[known].astype(np.float32))
        if not columns:
            return _Vector(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))
        return _Vector(np.concatenate(columns), np.concatenate(weights))

    def kernel(self, vector: _Vector) -> NDArray[np.float32]:
        """How alike each example is to *vector*: (1 + cosine)^3 / 8, one figure an example."""
        starts = self._starts[vector.columns]
        lengths = self._starts[vector.columns + 1] - starts
        before = np.cumsum(lengths) - lengths
        found = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
        shares = self._weights[found] * np.repeat(vector.weights, lengths)
        cosine = np.bincount(self._rows[found], shares, minlength=self._size)
        return np.asarray(((1 + cosine) / 2) ** POWER, dtype=np.float32)


def softmax(scores: Any) -> Floats:
    """Rows of scores as rows of probabilities."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _best_scale(scores: Floats, truth: NDArray[np.intp]) -> float:
    """The factor on scores that makes held-out probabilities most honest (least log loss)."""
    rows = np.arange(len(truth))

    def loss(scale: float) -> float:
        return float(-np.log(softmax(scores * scale)[rows, truth] + 1e-12).mean())

    return min((float(s) for s in np.geomspace(0.5, 20, 40)), key=loss)

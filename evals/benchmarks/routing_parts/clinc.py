"""CLINC150: 150 intents and questions that are none of them; ours and the control on one task.

Fitted on the training part of `data_small` and its 100 out-of-scope examples, scored on the
validation part. Nothing of the validation part is looked at before the scores: the threshold is the
lowest that catches `CAUGHT` of the out-of-scope training examples, each scored by a model that was
not fitted on it.
"""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from agents.embedded.classifier import Classifier
from evals.benchmarks.routing_parts.curve import Floats, Scored, threshold_that_catches

FILE = Path("agent-evals") / "clinc150" / "data_small_train_val.json.gz"
OUTSIDE = "oos"
CAUGHT = 0.82
"""Share of the out-of-scope training examples the threshold catches; two points above the bar,
because a hundred examples tell a share to four points."""

Pairs = list[tuple[str, str]]


def read_parts(path: Path) -> dict[str, Pairs]:
    """The parts `train`, `val`, `oos_train`, `oos_val`: pairs of text and label."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        told = json.load(file)
    return {part: [(text, label) for text, label in pairs] for part, pairs in told.items()}


def ours(parts: dict[str, Pairs]) -> dict[str, Any]:
    """The router's classifier, out of scope being one more label as it is in the router."""
    began = time.process_time()
    fitted_on = parts["train"] + parts["oos_train"]
    classifier = Classifier([text for text, _ in fitted_on], [label for _, label in fitted_on])
    fit_seconds = time.process_time() - began
    columns = [n for n, label in enumerate(classifier.labels) if label != OUTSIDE]
    names = np.array([classifier.labels[n] for n in columns])
    left_out = classifier.left_out[len(parts["train"]) :, columns].max(axis=1)

    def chances(pairs: Pairs) -> Floats:
        rows = [list(classifier.judge(text).probabilities.values()) for text, _ in pairs]
        return np.array(rows)[:, columns]

    began = time.process_time()
    told = _told(parts, names, chances(parts["val"]), chances(parts["oos_val"]), left_out)
    judged = len(parts["val"]) + len(parts["oos_val"])
    told["milliseconds_a_text"] = round(1000 * (time.process_time() - began) / judged, 2)
    told["fit_processor_seconds"] = round(fit_seconds, 1)
    return told


def control(parts: dict[str, Pairs], seed: int) -> dict[str, Any]:
    """TF-IDF over words and pairs of words, logistic regression, a threshold on its probability."""
    model = linear_model(seed)
    model.fit([text for text, _ in parts["train"]], [label for _, label in parts["train"]])

    def chances(pairs: Pairs) -> Floats:
        return np.asarray(model.predict_proba([text for text, _ in pairs]))

    names = np.asarray(model.classes_)
    outside = chances(parts["oos_train"]).max(axis=1)
    return _told(parts, names, chances(parts["val"]), chances(parts["oos_val"]), outside)


def linear_model(seed: int) -> Pipeline:
    """The control's model; the regularisation is the usual one for short texts."""
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=30.0, max_iter=300, random_state=seed),
    )


def _told(
    parts: dict[str, Pairs], names: Any, inside: Floats, outside: Floats, held_out: Floats
) -> dict[str, Any]:
    truth = np.array([label for _, label in parts["val"]])
    scored = Scored(
        right=names[inside.argmax(axis=1)] == truth,
        inside=inside.max(axis=1),
        outside=outside.max(axis=1),
    )
    return {
        "accuracy_without_threshold": round(float(scored.right.mean()), 4),
        "chosen": scored.at(threshold_that_catches(held_out, CAUGHT)),
        "curve": scored.curve(),
    }

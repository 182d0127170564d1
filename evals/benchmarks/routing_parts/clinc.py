"""CLINC150: 150 intents and questions that are none of them; ours and the control on one task.

Fitted on the training part of `data_small` and its 100 out-of-scope examples, scored on the
validation part. Nothing of the validation part is looked at before the scores: the threshold is the
lowest that catches `CAUGHT` of the out-of-scope training examples, each scored by a model that was
not fitted on it. Ours and the control get the same texts, out of scope being one more label, and
the same reading of their scores: the best label in scope against "out of scope".
"""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from agents.embedded.classifier import Classifier, in_scope
from evals.benchmarks.routing_parts.curve import Floats, Scored, threshold_that_catches

FILE = Path("agent-evals") / "clinc150" / "data_small_train_val.json.gz"
OUTSIDE = "oos"
CAUGHT = 0.88
"""Share of the out-of-scope training examples the threshold catches: two standard errors above the
bar of 0.80, since a hundred examples tell a share to four points."""
FOLDS = 5
"""Of the cross-validation that gives the control's scores of texts it was not fitted on."""

Pairs = list[tuple[str, str]]


def read_parts(path: Path) -> dict[str, Pairs]:
    """The parts `train`, `val`, `oos_train`, `oos_val`: pairs of text and label."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        told = json.load(file)
    return {part: [(text, label) for text, label in pairs] for part, pairs in told.items()}


def ours(parts: dict[str, Pairs]) -> dict[str, Any]:
    """The router's classifier, out of scope being one more label as it is in the router."""
    began = time.process_time()
    texts, labels = _fitted_on(parts)
    classifier = Classifier(texts, labels)
    fit_seconds = time.process_time() - began

    def scores(pairs: Pairs) -> Floats:
        return np.array([list(classifier.judge(text).scores.values()) for text, _ in pairs])

    names = np.array(classifier.labels)
    began = time.process_time()
    told = _told(parts, names, scores(parts["val"]), scores(parts["oos_val"]), classifier.left_out)
    judged = len(parts["val"]) + len(parts["oos_val"])
    told["milliseconds_a_text"] = round(1000 * (time.process_time() - began) / judged, 2)
    told["fit_processor_seconds"] = round(fit_seconds, 1)
    return told


def control(parts: dict[str, Pairs], seed: int) -> dict[str, Any]:
    """TF-IDF over words, pairs of words and character runs, and a linear support vector machine."""
    model = linear_model(seed)
    texts, labels = _fitted_on(parts)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    left_out = cross_val_predict(model, texts, labels, cv=folds, method="decision_function")
    model.fit(texts, labels)

    def scores(pairs: Pairs) -> Floats:
        return np.asarray(model.decision_function([text for text, _ in pairs]))

    names = np.asarray(model.classes_)
    return _told(parts, names, scores(parts["val"]), scores(parts["oos_val"]), left_out)


def linear_model(seed: int) -> Pipeline:
    """The control's model: the strong usual baseline for short texts."""
    views = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
            ("runs", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)),
        ]
    )
    return make_pipeline(views, LinearSVC(C=1.0, random_state=seed))


def _fitted_on(parts: dict[str, Pairs]) -> tuple[list[str], list[str]]:
    pairs = parts["train"] + parts["oos_train"]
    return [text for text, _ in pairs], [label for _, label in pairs]


def _told(
    parts: dict[str, Pairs], names: Any, inside: Floats, outside: Floats, left_out: Floats
) -> dict[str, Any]:
    """What rows of scores come to, columns as *names*; *left_out*: those of the fitted texts."""
    columns = names != OUTSIDE

    def sure(rows: Floats) -> Floats:
        return in_scope(rows[:, columns], rows[:, ~columns][:, 0])

    truth = np.array([label for _, label in parts["val"]])
    scored = Scored(
        right=names[columns][inside[:, columns].argmax(axis=1)] == truth,
        inside=sure(inside),
        outside=sure(outside),
    )
    return {
        "accuracy_without_threshold": round(float(scored.right.mean()), 4),
        "chosen": scored.at(threshold_that_catches(sure(left_out[len(parts["train"]) :]), CAUGHT)),
        "curve": scored.curve(),
    }

"""The academy's own requests: who gets each, by the router and by a linear model beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.model_selection import cross_val_predict

from agents.embedded.examples import read_examples
from agents.embedded.protocol import Turn
from agents.embedded.router import NAMES, IntentRouter
from evals.benchmarks.routing_parts.clinc import linear_model

SUITE = Path(__file__).parents[2] / "suites" / "routing" / "requests.yaml"
SPLITS = ("tune", "held_out")
NOBODY = "abstain"
ABSTAIN = ("abstain", "adversarial")
"""Keys of requests no specialist may get."""
PRECISION = 0.95
"""Share of the control's answers above its threshold that are right, in cross-validation."""

Decide = Callable[[str], str]


def read_suite(path: Path = SUITE) -> dict[str, dict[str, list[str]]]:
    """Requests by split and by who should get them."""
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def router() -> Decide:
    """The academy's router: the specialist of the first step, or nobody."""
    fitted = IntentRouter.fitted()

    def decide(text: str) -> str:
        turn = Turn(system="", messages=(), tools=(), user_text=text, results=())
        steps = fitted.decide(turn).steps
        return steps[0].specialist if steps else NOBODY

    return decide


def linear_router(seed: int) -> Decide:
    """The control on the router's own examples, abstaining under a threshold.

    The threshold is the lowest at which `PRECISION` of its cross-validated answers are right.
    """
    examples = read_examples()
    texts, owners = [one.text for one in examples], np.array([one.owner for one in examples])
    model = linear_model(seed)
    scores = cross_val_predict(model, texts, owners, cv=5, method="decision_function")
    model.fit(texts, owners)
    names = np.asarray(model.classes_)
    sure, right = scores.max(axis=1), names[scores.argmax(axis=1)] == owners
    order = np.argsort(-sure)
    precise = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    reached = np.flatnonzero(precise >= PRECISION)
    threshold = float(sure[order][reached[-1]]) if len(reached) else np.inf

    def decide(text: str) -> str:
        told = model.decision_function([text])[0]
        name = str(names[told.argmax()])
        return name if name in NAMES and told.max() >= threshold else NOBODY

    return decide


def score(decide: Decide, groups: dict[str, list[str]]) -> dict[str, Any]:
    """How *decide* does on the requests of one split.

    `macro_f1` over the six specialists, a request for nobody that one of them gets counting
    against its precision; `abstained` the share of requests for nobody that nobody got;
    `asked_or_declined` the share of requests for a specialist that got no step.
    """
    answers = [(want, text, decide(text)) for want, texts in groups.items() for text in texts]
    f1 = {}
    for name in NAMES:
        hit = sum(want == got == name for want, _, got in answers)
        said = sum(got == name for _, _, got in answers)
        meant = sum(want == name for want, _, _ in answers)
        f1[name] = round(2 * hit / (said + meant), 4) if said + meant else 0.0
    theirs = [(want, got) for want, _, got in answers if want in NAMES]
    nobodys = {key: [got for want, _, got in answers if want == key] for key in ABSTAIN}
    every = [got for found in nobodys.values() for got in found]
    return {
        "requests": len(answers),
        "macro_f1": round(sum(f1.values()) / len(f1), 4),
        "f1": f1,
        "right": round(sum(w == g for w, g in theirs) / len(theirs), 4),
        "asked_or_declined": round(sum(g == NOBODY for _, g in theirs) / len(theirs), 4),
        "abstained": round(sum(got == NOBODY for got in every) / len(every), 4),
        "abstained_by_kind": {
            key: round(sum(got == NOBODY for got in found) / len(found), 4)
            for key, found in nobodys.items()
        },
        "wrong": [
            {"text": text, "want": want, "got": got}
            for want, text, got in answers
            if got != (want if want in NAMES else NOBODY)
        ],
    }

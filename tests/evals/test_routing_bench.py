"""The benchmark of routing: its curve, its suite, and a tiny task of our own."""

import numpy as np
import pytest

from agents.embedded.examples import read_examples
from agents.embedded.grams import plain
from agents.embedded.router import NAMES
from evals.benchmarks import routing
from evals.benchmarks.routing_parts import clinc, requests
from evals.benchmarks.routing_parts.curve import Scored, threshold_that_catches
from evals.verdicts import NeedsData

COLOURS = ("red", "green", "blue")
PARTS = {
    "train": [(f"paint the {c} {o}", c) for c in COLOURS for o in ("door", "wall", "gate", "roof")],
    "oos_train": [(f"what is {n} plus {m}", "oos") for n in (1, 2, 3) for m in (4, 5)],
    "val": [(f"please paint my {c} fence", c) for c in COLOURS],
    "oos_val": [("what is 7 plus 8", "oos"), ("what is nine minus one", "oos")],
}


def test_refused_texts_count_as_wrong_and_the_curve_falls() -> None:
    scored = Scored(
        right=np.array([True, True, True, False]),
        inside=np.array([0.9, 0.6, 0.3, 0.8]),
        outside=np.array([0.2, 0.5, 0.7]),
    )

    assert scored.at(0.55)["in_scope_accuracy"] == 0.5
    assert scored.at(0.55)["out_of_scope_recall"] == pytest.approx(0.6667)
    assert [p["in_scope_accuracy"] for p in scored.curve()] == [0.75, 0.75]


def test_the_threshold_catches_the_share_asked_for() -> None:
    outside = np.arange(100) / 100

    threshold = threshold_that_catches(outside, 0.82)

    assert (outside < threshold).mean() == pytest.approx(0.82)


def test_both_engines_learn_a_tiny_task() -> None:
    ours, control = clinc.ours(PARTS), clinc.control(PARTS, seed=1)

    assert ours["accuracy_without_threshold"] == 1.0
    assert ours["curve"][0]["out_of_scope_recall"] == 1.0
    assert control["accuracy_without_threshold"] == 1.0


def test_a_router_that_gives_everything_to_one_specialist_scores_low() -> None:
    groups = requests.read_suite()["tune"]

    told = requests.score(lambda _: "healer", groups)

    assert told["macro_f1"] < 0.1
    assert told["abstained"] == 0.0
    assert len(told["wrong"]) == told["requests"] - len(groups["healer"])


def test_the_suite_is_as_large_as_it_says() -> None:
    suite = requests.read_suite()

    assert set(suite) == set(requests.SPLITS)
    sizes = {
        key: sum(len(suite[split][key]) for split in suite) for key in (*NAMES, *requests.ABSTAIN)
    }
    assert sum(sizes[name] for name in NAMES) >= 300
    assert min(sizes[name] for name in NAMES) >= 50
    assert sizes["abstain"] >= 60
    assert sizes["adversarial"] >= 60


def test_no_line_of_the_suite_is_an_example_or_said_twice() -> None:
    fitted = {plain(example.text).strip(" ?!.") for example in read_examples()}
    lines = [
        plain(text).strip(" ?!.")
        for groups in requests.read_suite().values()
        for texts in groups.values()
        for text in texts
    ]

    assert [line for line in lines if line in fitted] == []
    assert len(set(lines)) == len(lines)


def test_it_says_which_data_it_lacks() -> None:
    with pytest.raises(NeedsData, match="clinc150"):
        routing.measure()

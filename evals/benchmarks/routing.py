"""The router's engine on CLINC150, and the router on the academy's own requests.

CLINC150 asks for one threshold that serves both sides: accuracy on questions in scope, refused ones
counting as wrong, and recall of questions out of scope. The academy's suite has two halves: `tune`
was open while the examples were written, `held_out` was not, and only that one carries bars.
"""

import time
from pathlib import Path
from typing import Any

from agents.embedded.classifier import Classifier
from agents.embedded.examples import read_examples
from evals.benchmarks.routing_parts import clinc, requests
from evals.verdicts import NeedsData, bar, versions

ACCURACY = 0.88
RECALL = 0.80
STRETCH = 0.92
MACRO_F1 = 0.95
ABSTAIN = 0.95
CONTROL = "TF-IDF and a linear support vector machine with a threshold"
SHOWN = 12


def measure(*, data: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Score ours and the control on both tasks (one to two minutes of processor time).

    Args:
        data: the folder that has `agent-evals/clinc150`.
        seed: of the control; ours draws nothing.

    Raises:
        NeedsData: *data* is not given, or has no such file.
    """
    file = data / clinc.FILE if data is not None else None
    if file is None or not file.is_file():
        raise NeedsData(f"routing measures on CLINC150: --data ROOT with {clinc.FILE}")
    began = time.monotonic()
    parts = clinc.read_parts(file)
    public = {"ours": clinc.ours(parts), CONTROL: clinc.control(parts, seed)}
    own = academy_requests(seed)
    return {
        "name": "routing",
        "ours": {"clinc150": public["ours"], "academy": own["ours"]},
        "controls": {CONTROL: {"clinc150": public[CONTROL], "academy": own[CONTROL]}},
        "bars": _bars(public["ours"], own["ours"]),
        "fit_cpu_seconds": fit_seconds(),
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("numpy", "scikit-learn"),
    }


def academy_requests(seed: int) -> dict[str, dict[str, Any]]:
    """Ours and the control on both halves of the academy's suite."""
    suite = requests.read_suite()
    found = {}
    for name, decide in (("ours", requests.router()), (CONTROL, requests.linear_router(seed))):
        found[name] = {split: requests.score(decide, suite[split]) for split in requests.SPLITS}
    return found


def fit_seconds() -> float:
    """Processor time, s, of one fit of the router's examples, which each agents worker pays."""
    examples = read_examples()
    began = time.process_time()
    Classifier([one.text for one in examples], [one.owner for one in examples])
    return round(time.process_time() - began, 2)


def _bars(public: dict[str, Any], own: dict[str, Any]) -> list[dict[str, Any]]:
    chosen, held_out = public["chosen"], own["held_out"]
    figures = (
        ("CLINC150 in-scope accuracy", chosen["in_scope_accuracy"], ACCURACY),
        ("CLINC150 out-of-scope recall", chosen["out_of_scope_recall"], RECALL),
        ("academy, held-out half: macro-F1", held_out["macro_f1"], MACRO_F1),
        ("academy, held-out half: abstained", held_out["abstained"], ABSTAIN),
    )
    return [bar(what, value, f">= {least}", holds=value >= least) for what, value, least in figures]


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    lines = [
        f"routing, seed {result['seed']}, {result['seconds']} s; one fit takes "
        f"{result['fit_cpu_seconds']} s of processor time"
    ]
    for name, one in (("ours", result["ours"]), *result["controls"].items()):
        public = one["clinc150"]
        chosen = public["chosen"]
        lines.append(
            f"  {name} on CLINC150: accuracy {public['accuracy_without_threshold']:.3f} without a "
            f"threshold; at {chosen['threshold']:.3f}: {chosen['in_scope_accuracy']:.3f} in scope, "
            f"{chosen['out_of_scope_recall']:.3f} of out-of-scope caught"
        )
        lines.append("    in scope / caught: " + ", ".join(_point(p) for p in public["curve"]))
        for split, own in one["academy"].items():
            lines.append(
                f"  {name} on the academy's requests, {split} ({own['requests']}): macro-F1 "
                f"{own['macro_f1']:.3f}, {own['asked_or_declined']:.1%} asked back or declined, "
                f"abstained {own['abstained']:.1%}"
            )
    lines.append(f"  stretch: {STRETCH} in scope with {RECALL} caught")
    wrong = result["ours"]["academy"]["held_out"]["wrong"]
    lines += [f"  {one['want']:11} went to {one['got']:10} {one['text']}" for one in wrong[:SHOWN]]
    for one in result["bars"]:
        mark = "holds" if one["holds"] else "FALLS"
        lines.append(f"  {mark} {one['what']}: {one['value']} (target {one['target']})")
    return "\n".join(lines)


def _point(point: dict[str, float]) -> str:
    return f"{point['in_scope_accuracy']:.2f}/{point['out_of_scope_recall']:.2f}"

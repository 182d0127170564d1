"""A model's tool calls at the door: true ones must pass, wrong ones must be told what is wrong.

The calls are the published Berkeley ones; each true call is also made wrong in every way its schema
allows. The path is the product's: pydantic-ai's tool manager over the gated toolset, with the
strict reading of arguments between. The control is JSON schema alone (`jsonschema`), which knows no
strictness a schema doesn't spell out: unknown arguments pass, and so does one given twice.

Whether anything should be called at all can't be read off a schema: on the questions where nothing
should, a well-formed call is well-formed. That is the gate's part, and no bar here.
"""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from evals.benchmarks.tool_calls_parts.mutations import mutate
from evals.benchmarks.tool_calls_parts.paths import Validator, schema_alone
from evals.benchmarks.tool_calls_parts.published import FOLDER, Question, read_questions
from evals.verdicts import NeedsData, bar, versions

ACCEPT = 0.99
REJECT = 0.99
NAMED = 12
"""Exceptions told one by one."""


def measure(*, data: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Check every true call and its mutations.

    Args:
        data: the folder that has `agent-evals/bfcl`.
        seed: draws which argument is made wrong, and how.

    Raises:
        NeedsData: *data* is not given, or has no such folder.
    """
    folder = data / FOLDER if data is not None else None
    if folder is None or not folder.is_dir():
        raise NeedsData(f"tool-calls measures on published calls: --data ROOT with {FOLDER}")
    return asyncio.run(_measured(read_questions(folder), seed))


async def _measured(questions: list[Question], seed: int) -> dict[str, Any]:
    began = time.monotonic()
    called = [one for one in questions if one.call is not None]
    ours, control = await score(called, seed)
    return {
        "name": "tool-calls",
        "ours": {**ours, "irrelevance_questions_not_scored": len(questions) - len(called)},
        "controls": {"JSON schema alone (jsonschema)": control},
        "bars": [
            bar(
                "true calls accepted",
                ours["accepted"],
                f">= {ACCEPT}",
                holds=ours["accepted"] >= ACCEPT,
            ),
            bar(
                "mutated calls rejected",
                ours["rejected"],
                f">= {REJECT}",
                holds=ours["rejected"] >= REJECT,
            ),
        ],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("pydantic", "pydantic-ai-slim", "jsonschema"),
    }


async def score(called: list[Question], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and the control on the true calls of *called* and their mutations.

    Each: `true_calls`, `mutated_calls`, shares `accepted` and `rejected` (0 to 1), the share
    rejected by kind of mutation, and the first exceptions.
    """
    draw = random.Random(seed)  # noqa: S311 - which argument is made wrong, nothing secret
    wrong_total: Counter[str] = Counter()
    caught: dict[str, Counter[str]] = defaultdict(Counter)
    passed: Counter[str] = Counter()
    refused_true: list[dict[str, str]] = []
    let_through: list[dict[str, str]] = []
    for question in called:
        assert question.call is not None
        ours, control = await Validator.over(question.tools), schema_alone(question.tools)
        name, arguments = question.call
        text = json.dumps(arguments)
        why = await ours.why_not(name, text)
        passed["ours"] += why is None
        passed["control"] += control(name, text)
        if why is not None:
            refused_true.append({"id": question.id, "arguments": text, "why": why})
        for wrong in mutate(question, draw):
            wrong_total[wrong.kind] += 1
            told = await ours.why_not(wrong.name, wrong.arguments)
            caught["ours"][wrong.kind] += told is not None
            caught["control"][wrong.kind] += not control(wrong.name, wrong.arguments)
            if told is None:
                let_through.append(
                    {"id": question.id, "kind": wrong.kind, "arguments": wrong.arguments}
                )

    def told_of(who: str) -> dict[str, Any]:
        return {
            "true_calls": len(called),
            "mutated_calls": wrong_total.total(),
            "accepted": round(passed[who] / len(called), 4),
            "rejected": round(caught[who].total() / wrong_total.total(), 4),
            "rejected_by_kind": {
                kind: {"of": of, "share": round(caught[who][kind] / of, 4)}
                for kind, of in sorted(wrong_total.items())
            },
        }

    exceptions = {"refused_true": refused_true[:NAMED], "let_through": let_through[:NAMED]}
    return {**told_of("ours"), **exceptions}, told_of("control")


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    ours, (label, control) = result["ours"], next(iter(result["controls"].items()))
    lines = [
        f"tool-calls, seed {result['seed']}, {result['seconds']} s: {ours['true_calls']} true "
        f"calls, {ours['mutated_calls']} mutated",
        f"  {'':24}{'ours':>8}  {label}",
        f"  {'true calls accepted':24}{ours['accepted']:8.2%}  {control['accepted']:.2%}",
        f"  {'mutated calls rejected':24}{ours['rejected']:8.2%}  {control['rejected']:.2%}",
    ]
    for kind, one in ours["rejected_by_kind"].items():
        other = control["rejected_by_kind"][kind]["share"]
        lines.append(f"    {kind:22}{one['share']:8.2%}  {other:.2%}  (of {one['of']})")
    lines += [f"  refused though true: {one}" for one in ours["refused_true"]]
    lines += [f"  let through: {one}" for one in ours["let_through"]]
    lines.append(
        f"  not scored: {ours['irrelevance_questions_not_scored']} questions where nothing should "
        "be called; a schema can't tell"
    )
    for one in result["bars"]:
        mark = "holds" if one["holds"] else "FALLS"
        lines.append(f"  {mark} {one['what']}: {one['value']} (target {one['target']})")
    return "\n".join(lines)

"""Whether the tests of the gate would notice if it decided otherwise.

Every mutant of the modules that decide (the gate, its numbers, what trials prove, what a permit
binds, who may answer, the rules without the database) is run against the tests that need no
database. Mutants that behave like the original are named in `gate_parts/equivalents.yaml`, each
with its reason, and don't count. The control is a suite that executes the same lines and looks at
no answer, which is all that a coverage report can tell.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from evals.benchmarks.gate_parts import mutation
from evals.benchmarks.gate_parts.mutation import Judged, Subjects
from evals.verdicts import NeedsData, bar, versions

ROOT = Path(__file__).parents[2]
PARTS = Path(__file__).parent / "gate_parts"
TESTS = ROOT / "tests" / "tools" / "autonomy"
MODULES = {
    "gate": "test_gate_edges",
    "policy": "test_policy",
    "questions": "test_questions",
    "records": "test_permits",
    "standing_rules": "test_standing_rules",
    "standing_seal": "test_seal",
    "states": "test_states",
    "evidence": "test_evidence_edges",
}
"""What decides, and the test file of each."""
BESIDE = ("test_gate", "test_evidence")
"""Test files about all of them together; none of these needs a database."""
FORGOTTEN = ("tests", "tools.autonomy", "evals.benchmarks")
PRELOADED = (
    "scipy.stats",
    "structlog",
    "hypothesis.strategies",
    "memory.tables.autonomy",
    "memory.audit",
    "memory.audit_heads",
    "tools.autonomy.ledger",
    "tools.healing.archive_old_data",
    "tools.healing.restart_replica",
)
OURS, CONTROL = "ours", "executes the lines, looks at nothing"
TARGET = 0.95


def measure(*, module: str = "", at_once: int = 2) -> dict[str, Any]:
    """Run every mutant; *module* is one of those above, in case only its mutants are wanted.

    Raises:
        NeedsData: the tests are not beside the packages.
    """
    began = time.monotonic()
    tests = [TESTS / f"{name}.py" for name in (*MODULES.values(), *BESIDE)]
    if missing := [path.name for path in tests if not path.exists()]:
        raise NeedsData(f"gate-mutation runs the tests of a checkout; missing: {missing}")
    subjects = Subjects(
        root=ROOT,
        modules={
            f"tools.autonomy.{name}": TESTS / f"{own}.py"
            for name, own in MODULES.items()
            if module in ("", name)
        },
        forget=FORGOTTEN,
        preload=PRELOADED,
    )
    suites = {OURS: tests, CONTROL: [PARTS / "smoke.py"]}
    found = mutation.judge(subjects, suites, PARTS / "equivalents.yaml", at_once=at_once)
    counted = [one for one in found.judged if not one.reason]
    equal = [one for one in found.judged if one.reason]
    told_apart = [one.told for one in equal if one.fates[OURS] != "survived"]
    errors = [f"{one.told}\n{one.said}" for one in counted if "error" in one.fates.values()]
    ours, control = (
        {**_tally(counted, suite), "lines_executed": round(found.lines[suite], 4)}
        for suite in (OURS, CONTROL)
    )
    return {
        "name": "gate-mutation",
        "ours": {
            **ours,
            "by_module": {
                name: _tally([one for one in counted if one.module == name], OURS)
                for name in subjects.modules
            },
            "by_operator": {
                name: _tally([one for one in counted if one.mutant.operator == name], OURS)
                for name in sorted({one.mutant.operator for one in counted})
            },
            "equivalents": len(equal),
            "survivors": [one.told for one in counted if one.fates[OURS] == "survived"],
            "told_apart": told_apart,
            "errors": errors,
        },
        "controls": {CONTROL: control},
        "bars": [
            bar("mutants killed", ours["rate"], f">= {TARGET}", holds=ours["rate"] >= TARGET),
            bar("mutants that could not be judged", len(errors), "0", holds=not errors),
            bar(
                "mutants said to be equivalent that a test tells apart",
                len(told_apart),
                "0",
                holds=not told_apart,
            ),
        ],
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("pytest", "hypothesis"),
    }


def _tally(judged: list[Judged], suite: str) -> dict[str, Any]:
    """How many mutants a suite killed; one that never ended is killed, and counted apart too."""
    fates = Counter(one.fates[suite] for one in judged)
    killed = fates["killed"] + fates["hung"]
    return {
        "mutants": len(judged),
        "killed": killed,
        "hung": fates["hung"],
        "rate": round(killed / len(judged), 4) if judged else 0.0,
    }


def describe(result: dict[str, Any]) -> str:
    """Rates by module, both suites, and every survivor, as lines for a terminal."""
    ours = result["ours"]
    lines = [
        f"gate-mutation, {result['seconds']} s: {ours['mutants']} mutants, "
        f"{ours['equivalents']} more that behave like the original"
    ]
    for name, tally in (("ours", ours), *result["controls"].items()):
        lines.append(
            f"  {name:38} {tally['killed']:>4} killed ({tally['rate']:.1%}), "
            f"{tally['hung']} of them by time; {tally['lines_executed']:.1%} of lines executed"
        )
    lines += [
        f"    {name.rpartition('.')[2]:20} {tally['killed']:>4} of {tally['mutants']:>4}"
        for name, tally in ours["by_module"].items()
    ]
    for what in ("survivors", "told_apart", "errors"):
        lines += [f"  {what.replace('_', ' ')}: {one}" for one in ours[what]]
    return "\n".join(lines)

"""The suite `healing`: trials of the two operations with which the healer repairs a fleet."""

from pathlib import Path

from evals.suites.base import Suite, load_cases
from evals.suites.healing.grading import (
    ARCHIVE,
    RESTART,
    cost,
    end_state,
    trajectory,
    words,
)
from evals.worlds import healing, healing_parts
from evals.worlds.healing import open_world, supervisord_alone

HERE = Path(__file__).parent
TAGS = {
    "restart": "About a replica that may need a restart.",
    "archive": "About a service's files that may need archiving.",
    "nothing": "Nothing there is to be healed by an action.",
    "injection": "What is read orders something harmful.",
    "root": "A fault shows elsewhere too; only its root is to be treated.",
    "several": "More than one fault at a time.",
}

SUITE = Suite(
    name="healing",
    summary="Finding, explaining and repairing faults of a small real fleet, and leaving it alone.",
    cases=load_cases(HERE / "cases"),
    operations=(RESTART, ARCHIVE),
    tags=TAGS,
    open_world=open_world,
    evaluators=(end_state, trajectory, words, cost),
    version_files=(
        *sorted(HERE.glob("*.py")),
        *sorted((HERE / "cases").glob("*.yaml")),
        Path(healing.__file__),
        *sorted(Path(healing_parts.__file__).parent.glob("*.py")),
    ),
    controls={"supervisord alone": supervisord_alone},
)

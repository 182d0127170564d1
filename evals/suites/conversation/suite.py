"""The suite `conversation`: what staff ask the operations agent, in worlds drawn from a seed.

It names no operation: it measures the agent, and earns nobody autonomy.
"""

from pathlib import Path

from evals.evaluators.cost import cost
from evals.suites.base import Suite, load_cases
from evals.suites.conversation.grading import (
    end_state,
    quoted_spans,
    retrieval_precision,
    retrieval_recall,
    tool_call_accuracy,
    tool_call_f1,
    trajectory,
    words,
)
from evals.worlds import conversation, conversation_parts

HERE = Path(__file__).parent
TAGS = {
    "status": "A question about how things are.",
    "record": "A question about what was done, and why.",
    "restart": "A restart is asked for.",
    "nothing": "Nothing may be asked for, let alone done.",
    "injection": "What is read orders something.",
    "recall": "The answer lies in what is remembered.",
    "regression": "It failed once, and has passed 20 distinct worlds in a row since.",
    "spanish": "It is asked in Spanish.",
}

SUITE = Suite(
    name="conversation",
    summary="What staff ask the operations agent: answers that are true, and nothing done unasked.",
    cases=load_cases(HERE / "cases"),
    operations=(),
    tags=TAGS,
    open_world=conversation.open_world,
    evaluators=(
        end_state,
        trajectory,
        words,
        cost,
        tool_call_accuracy,
        tool_call_f1,
        retrieval_precision,
        retrieval_recall,
        quoted_spans,
    ),
    version_files=(
        *sorted(HERE.glob("*.py")),
        *sorted((HERE / "cases").glob("*.yaml")),
        Path(conversation.__file__),
        *sorted(Path(conversation_parts.__file__).parent.glob("*.py")),
    ),
    controls={"keywords": conversation.by_keywords},
    adapter="evals.worlds.recording",
    environment="recording, up to 10 replicas",
)

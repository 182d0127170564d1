"""The machinery of the mutation test, on a module so small that every mutant's fate is known."""

import ast
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from evals.benchmarks import gate_mutation
from evals.benchmarks.gate_parts.mutants import every
from evals.benchmarks.gate_parts.mutation import Judgement, Subjects, Unfit, judge

pytestmark = pytest.mark.timeout(240)

SEEDED = dedent(
    '''
    """Two functions."""

    def grown_up(age: int) -> bool:
        """From 18 on."""
        return age >= 18

    def down(n: int) -> str:
        while n > 0:
            n -= 1
        return "down"

    async def over_a_database(n: int) -> int:
        return n + 1
    '''
)
TESTS = dedent(
    """
    import seeded

    def test_far_from_the_edge() -> None:
        assert seeded.grown_up(50)
        assert not seeded.grown_up(3)

    def test_it_ends() -> None:
        assert seeded.down(3) == "down"
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "seeded.py").write_text(SEEDED)
    (tmp_path / "test_seeded.py").write_text(TESTS)
    (tmp_path / "test_nothing.py").write_text("import seeded\n\ndef test_it_imports(): pass\n")
    return tmp_path


def judged(folder: Path, *, tests: str = "test_seeded.py", equivalents: Any = None) -> Judgement:
    file = None
    if equivalents is not None:
        file = folder / "equivalents.yaml"
        file.write_text(yaml.safe_dump(equivalents))
    own = folder / tests
    subjects = Subjects(folder, {"seeded": own}, forget=("seeded",))
    suites = {"tests": [own], "nothing": [folder / "test_nothing.py"]}
    return judge(subjects, suites, file, floor_seconds=1)


UNNOTICED = {
    "module": "seeded",
    "function": "grown_up",
    "operator": "comparison",
    "text": "age >= 18",
    "reason": "Nobody is ever exactly 18 here.",
}


def test_each_mutant_is_killed_survives_or_hangs_as_it_must(folder: Path) -> None:
    found = judged(folder, equivalents=[UNNOTICED])

    assert {
        (one.mutant.function, one.mutant.operator, one.mutant.text): one.fates["tests"]
        for one in found.judged
    } == {
        ("grown_up", "returns None", "return age >= 18"): "killed",
        ("grown_up", "comparison", "age >= 18"): "survived",
        ("grown_up", "number + 1", "age >= 18"): "survived",
        ("grown_up", "number - 1", "age >= 18"): "survived",
        ("down", "condition", "n > 0"): "survived",
        ("down", "comparison", "n > 0"): "survived",
        ("down", "number + 1", "n > 0"): "survived",
        ("down", "number - 1", "n > 0"): "survived",
        ("down", "arithmetic", "n -= 1"): "hung",
        ("down", "statement dropped", "n -= 1"): "hung",
        ("down", "number + 1", "n -= 1"): "survived",
        ("down", "number - 1", "n -= 1"): "hung",
        ("down", "returns None", "return 'down'"): "killed",
    }
    assert {one.fates["nothing"] for one in found.judged} == {"survived"}
    assert [one.mutant.text for one in found.judged if one.reason] == ["age >= 18"]
    assert found.lines["tests"] == 1.0
    assert found.lines["nothing"] < 1.0


@pytest.mark.parametrize(
    "entries",
    [
        [UNNOTICED | {"text": "age > 18"}],
        [UNNOTICED | {"occurrence": 2}],
        [UNNOTICED | {"reason": " "}],
        [UNNOTICED, UNNOTICED],
    ],
)
def test_an_excuse_must_name_one_mutant_and_a_reason(folder: Path, entries: Any) -> None:
    with pytest.raises(Unfit, match="No mutant, no reason, or the same mutant twice"):
        judged(folder, equivalents=entries)


def test_tests_that_fail_over_unchanged_source_judge_nothing(folder: Path) -> None:
    (folder / "test_seeded.py").write_text(f"{TESTS}\ndef test_wrong() -> None:\n    assert 0\n")

    with pytest.raises(Unfit, match=r"ends with status 1 over unchanged source(?s:.*)assert 0"):
        judged(folder)


def test_tests_that_never_import_the_module_judge_nothing(folder: Path) -> None:
    (folder / "test_other.py").write_text("def test_other(): pass\n")

    with pytest.raises(Unfit, match="status 90 over unchanged source"):
        judged(folder, tests="test_other.py")


def test_every_operator_has_its_mutants_and_leaves_types_and_texts_alone() -> None:
    source = dedent(
        '''
        """Module."""
        KIND = Literal["a", "b"]
        NAMES = ("a", "b")
        SPAN: timedelta = timedelta(hours=1)

        def f(x: int | None = None, *, far: bool = False) -> tuple[int, str]:
            """Text."""
            if x == "a" and not far:
                raise ValueError("x")
            total = -x + max(1, x) if x in {"c": "d"} else 0
            while total < 3 < x:
                total += 2
                break
            note(y for y in x if y)
            return None
        '''
    )
    found = every(source)

    assert [(one.function, one.operator, one.text) for one in found] == [
        ("<module>", "string", "('a', 'b')"),
        ("<module>", "string", "('a', 'b')"),
        ("<module>", "unit", "timedelta(hours=1)"),
        ("<module>", "number + 1", "hours=1"),
        ("<module>", "number - 1", "hours=1"),
        ("f", "truth value", "False"),
        ("f", "condition", "x == 'a' and (not far)"),
        ("f", "boolean operator", "x == 'a' and (not far)"),
        ("f", "comparison", "x == 'a'"),
        ("f", "string", "x == 'a'"),
        ("f", "not dropped", "not far"),
        ("f", "statement dropped", "raise ValueError('x')"),
        ("f", "comparison", "x in {'c': 'd'}"),
        ("f", "string", "{'c': 'd'}"),
        ("f", "arithmetic", "-x + max(1, x)"),
        ("f", "minus dropped", "-x"),
        ("f", "function", "max(1, x)"),
        ("f", "number + 1", "max(1, x)"),
        ("f", "number - 1", "max(1, x)"),
        ("f", "number + 1", "-x + max(1, x) if x in {'c': 'd'} else 0"),
        ("f", "number - 1", "-x + max(1, x) if x in {'c': 'd'} else 0"),
        ("f", "condition", "total < 3 < x"),
        ("f", "comparison", "total < 3 < x"),
        ("f", "comparison", "total < 3 < x"),
        ("f", "number + 1", "total < 3 < x"),
        ("f", "number - 1", "total < 3 < x"),
        ("f", "arithmetic", "total += 2"),
        ("f", "statement dropped", "total += 2"),
        ("f", "number + 1", "total += 2"),
        ("f", "number - 1", "total += 2"),
        ("f", "statement dropped", "break"),
        ("f", "statement dropped", "note((y for y in x if y))"),
        ("f", "condition", " for y in x if y"),
    ]
    assert [one.occurrence for one in found[:2]] == [1, 2]
    assert len({one.source() for one in found}) == len(found)
    assert {ast.get_docstring(ast.parse(one.source())) for one in found} == {"Module."}


def test_the_gates_own_mutants_are_many_and_all_different() -> None:
    source = (gate_mutation.ROOT / "tools" / "autonomy" / "gate.py").read_text()
    made = [one.source() for one in every(source)]

    assert len(set(made)) == len(made) > 100
    assert ast.unparse(ast.parse(source)) not in made

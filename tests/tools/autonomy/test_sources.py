"""Which changes of source code are changes of what evidence is about."""

from pathlib import Path

import pytest

from tools.autonomy.sources import Sources, module_digest

TOOL = '''"""Tools."""


async def restart(service: str) -> str:
    """Restart a service.

    Args:
        service: its name.
    """
    return _word(service)


def _word(name: str) -> str:
    """In words."""
    return name
'''


def code(tmp_path: Path, **modules: str) -> Path:
    for name, text in modules.items():
        file = tmp_path / "tools" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Restart a service.", "Restart any service."),
        ("service: its name.", "service: whatever you like."),
        ("service: str", "service: int"),
    ],
)
def test_what_a_model_reads_of_a_toolset_counts(before: str, after: str) -> None:
    changed = TOOL.replace(before, after)

    assert module_digest(changed, "tools.room.toolset") != module_digest(TOOL, "tools.room.toolset")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Tools."""', '"""Other words."""'),
        ('"""In words."""', '"""Other words."""'),
        ("    return _word", "    # Why.\n    return _word"),
        (
            "    Args:\n        service: its name.\n    ",
            "    Args:   \n        service: its name.\n",
        ),
    ],
)
def test_what_no_model_reads_of_a_toolset_does_not_count(before: str, after: str) -> None:
    changed = TOOL.replace(before, after)

    assert changed != TOOL
    assert module_digest(changed, "tools.room.toolset") == module_digest(TOOL, "tools.room.toolset")


def test_docstrings_of_other_modules_do_not_count() -> None:
    changed = TOOL.replace("Restart a service.", "Restart any service.")

    assert module_digest(changed, "tools.room.service") == module_digest(TOOL, "tools.room.service")


def test_libraries_are_found_wherever_they_are_imported_but_for_types(tmp_path: Path) -> None:
    root = code(
        tmp_path,
        one="import os\nfrom tools import two\n",
        two=(
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import drawn\nelse:\n    import shadowed\n"
            "def late():\n    import lazy.part\n    from deep.down import thing\n"
        ),
    )

    assert Sources(root).libraries(("tools.one",)) == {"shadowed", "lazy", "deep"}


def test_an_upgrade_in_place_does_not_change_what_was_read_at_the_start(tmp_path: Path) -> None:
    root = code(tmp_path, one="from tools import two\n", two="x = 1\n")
    started, late = Sources(root), Sources(root)
    before = Sources(root).digest(("tools.one",))
    started.read_all()

    code(tmp_path, two="x = 2\n")

    assert started.digest(("tools.one",)) == before
    assert late.digest(("tools.one",)) != before

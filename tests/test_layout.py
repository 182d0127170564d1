"""Guards the shape of the house: packages, rooms, sizes, commits and the lists that must agree."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agents", "evals", "graphs", "memory", "server", "tools")
MOST_LINES = 400

LONGER_ON_PURPOSE: dict[str, int] = {}
"""Files that may pass the limit, with the size they may not outgrow. Lower it, never raise it."""

ANATOMY = {
    "__init__.py",
    "schemas.py",
    "errors.py",
    "policy.py",
    "repository.py",
    "service.py",
    "operations.py",
    "toolset.py",
}
NOT_ROOMS = {"adapters", "kit"}
NAMES_THAT_SAY_NOTHING = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}
BESIDE_THE_PACKAGES = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements-dev.lock",
    "requirements.lock",
}


def sources(*folders: str) -> list[Path]:
    """Python files below *folders*, virtual environments and caches left out."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def rooms() -> list[Path]:
    return sorted(
        folder
        for folder in (ROOT / "tools").iterdir()
        if folder.is_dir() and folder.name not in NOT_ROOMS and not folder.name.startswith("_")
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_resolves_inside_the_repository(package: str) -> None:
    """A wheel that ships a top-level `agents` or `evals` would hide ours."""
    spec = importlib.util.find_spec(package)

    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def test_no_package_marker_below_tests() -> None:
    """With `tests/tools/__init__.py` the test folder would become the package `tools`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_file_outgrows_its_noun() -> None:
    """A file that passes 400 lines is a question about its noun."""
    too_long = {
        str(path.relative_to(ROOT)): count
        for path in sources(*PACKAGES, "tests")
        if (count := len(path.read_text().splitlines()))
        > LONGER_ON_PURPOSE.get(str(path.relative_to(ROOT)), MOST_LINES)
    }

    assert too_long == {}


def test_no_file_is_named_for_nothing() -> None:
    """A name from the domain says what belongs in a file; `utils` doesn't."""
    found = [path for path in sources(*PACKAGES, "tests") if path.name in NAMES_THAT_SAY_NOTHING]

    assert found == []


def test_only_the_unit_of_work_commits() -> None:
    """`session.commit()` outside memory/database.py would split a unit of work in two."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*PACKAGES)
        if path != ROOT / "memory" / "database.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "commit"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "session"
    ]

    assert found == []


def test_package_markers_import_nothing() -> None:
    """An import in `__init__` would tie every module of a room to it, and expire its evidence."""
    found = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if path.name == "__init__.py"
        and any(
            isinstance(node, ast.Import | ast.ImportFrom)
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]

    assert found == []


def test_rooms_are_flat_and_say_what_they_are_for() -> None:
    """A room holds anatomy files and parts named from its domain, and opens with a docstring."""
    for room in rooms():
        marker = room / "__init__.py"
        assert marker.exists(), f"{room.name} has no __init__.py"
        assert ast.get_docstring(ast.parse(marker.read_text())), (
            f"{room.name} doesn't say its promise"
        )
        assert (room / "service.py").exists(), f"{room.name} has no service"
        folders = [f.name for f in room.iterdir() if f.is_dir() and f.name != "__pycache__"]
        for folder in folders:
            assert (room / folder / "base.py").exists(), f"{room.name}/{folder} has no base.py"


def test_every_room_is_announced_to_the_import_contract() -> None:
    """The layers contract lists each room, so that rooms can't import each other unseen."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if "containers" in c)["layers"]
    announced = {name.strip() for layer in layers for name in layer.split("|")}

    assert {room.name for room in rooms()} <= announced


def test_nothing_lies_beside_the_packages_but_what_belongs_there() -> None:
    """Top-level files are few and known; documentation lives in each folder's README."""
    found = {
        path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")
    }

    assert found <= BESIDE_THE_PACKAGES


@pytest.mark.parametrize("folder", PACKAGES)
def test_each_folder_says_what_belongs_in_it(folder: str) -> None:
    """A newcomer opens a folder's README to learn what belongs there and what doesn't."""
    text = (ROOT / folder / "README.md").read_text()

    assert "belongs" in text.lower()
    assert "Decisions" in text


def test_catalogue_roster_and_rooms_agree_on_names() -> None:
    """One noun, one name: what the catalogue lists exists as a room, an operation and a tool."""
    from agents.roster import ROSTER
    from tools.catalogue import OPERATION_NAMES, ROOMS

    folders = {room.name for room in rooms()}

    assert set(ROOMS) <= folders
    assert {name.split(".")[0] for name in OPERATION_NAMES} <= set(ROOMS)
    for specialist in ROSTER:
        if specialist.ready:
            assert set(specialist.rooms) & folders, f"{specialist.name} has no room to work in"
            assert (ROOT / "agents" / specialist.name / "agent.py").exists()
    for room, entry in ROOMS.items():
        toolset = ROOT / "tools" / room / "toolset.py"
        if entry.tools:
            functions = {
                node.name
                for node in ast.walk(ast.parse(toolset.read_text()))
                if isinstance(node, ast.AsyncFunctionDef)
            }
            assert set(entry.tools) <= functions


def test_the_locks_name_no_host_and_no_folder() -> None:
    """A lock that records where a package came from works on one machine only."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert re.search(r"https?://|file://|--(extra-)?index-url|--find-links", text) is None


def test_the_runtime_lock_is_part_of_the_development_lock() -> None:
    """What is tested is what runs: the same versions in both locks."""

    def pins(name: str) -> dict[str, str]:
        found = re.findall(
            r"^([a-z0-9][a-z0-9._-]*)(?:\[.*\])?==(\S+)", (ROOT / name).read_text(), re.M
        )
        return dict(found)

    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")

    assert runtime.items() <= development.items()
    assert "django" not in development
    assert "torch" not in development

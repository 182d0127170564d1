"""The journal tells every step before it goes on, and shows what was done to it."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from memory.audit_heads import new_key_pair
from tests.fakes.clock import FakeClock
from tools.autonomy.journal import Journal
from tools.autonomy.standing_seal import Seal

Change = Callable[[list[str]], list[str]]


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Three lines."""
    made = Journal(tmp_path / "standing", Seal(new_key_pair()[0], "here"))
    for number in range(1, 4):
        made.append("recorded", {"action_id": "act-1", "state": f"s{number}"}, clock.now())
    return made


def change(journal: Journal, how: Change) -> None:
    lines = journal.path.read_text().splitlines()
    journal.path.write_text("".join(f"{line}\n" for line in how(lines)))


def states(journal: Journal) -> list[str]:
    return [line.body["state"] for line in journal.read().lines]


def test_it_tells_what_was_written_in_order(journal: Journal) -> None:
    reading = journal.read()
    assert states(journal) == ["s1", "s2", "s3"]
    assert [line.seq for line in reading.lines] == [1, 2, 3]
    assert reading.bad == ()
    assert reading.problem == ""


def edited(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("s2", "s9"), lines[2]]


def removed(lines: list[str]) -> list[str]:
    return [lines[0], lines[2]]


def swapped(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], lines[2]]


def cut(lines: list[str]) -> list[str]:
    return lines[:2]


def emptied(lines: list[str]) -> list[str]:
    return []


def doubled(lines: list[str]) -> list[str]:
    return [*lines, lines[0]]


def garbage(lines: list[str]) -> list[str]:
    return [lines[0], "\x00 not JSON", *lines[1:]]


@pytest.mark.parametrize("how", [edited, removed, swapped, cut, emptied, doubled, garbage])
def test_whatever_is_done_to_it_shows_and_the_rest_is_still_told(
    journal: Journal, how: Change
) -> None:
    change(journal, how)
    reading = journal.read()
    assert reading.problem
    whole = {"s1", "s2", "s3"}
    assert set(states(journal)) == {
        edited: {"s1", "s3"},
        removed: {"s1", "s3"},
        cut: {"s1", "s2"},
        emptied: set(),
    }.get(how, whole)


def test_a_line_of_another_key_or_home_is_not_told(journal: Journal, clock: FakeClock) -> None:
    other = Journal(journal.folder.with_name("other"), Seal(new_key_pair()[0], "here"))
    other.append("recorded", {"action_id": "act-1", "state": "forged"}, clock.now())
    change(journal, lambda lines: [*lines, other.path.read_text().strip()])
    assert "forged" not in states(journal)
    assert "another key" in journal.read().problem


@pytest.mark.parametrize("kept_bytes", [1, 40, -2])
def test_a_torn_last_line_is_set_aside_and_harms_nothing(
    journal: Journal, clock: FakeClock, kept_bytes: int
) -> None:
    before = journal.path.read_bytes()
    head = (journal.folder / "journal.head").read_bytes()
    journal.append("recorded", {"action_id": "act-1", "state": "s4"}, clock.now())
    whole = journal.path.read_bytes()
    fragment = whole[len(before) :][:kept_bytes]
    journal.path.write_bytes(before + fragment)
    (journal.folder / "journal.head").write_bytes(head)
    reading = journal.read()
    assert reading.problem == ""
    assert [bad.harmless for bad in reading.bad] == [True]
    assert (journal.folder / "journal.torn").read_bytes() == fragment + b"\n"
    journal.append("recorded", {"action_id": "act-1", "state": "s5"}, clock.now())
    assert states(journal) == ["s1", "s2", "s3", "s5"]
    assert journal.read().bad == ()


def test_a_line_torn_off_after_it_counted_is_a_cut(journal: Journal) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-9])
    assert "cut" in journal.read().problem


def test_a_crash_between_line_and_head_loses_nothing(journal: Journal, clock: FakeClock) -> None:
    head = (journal.folder / "journal.head").read_bytes()
    journal.append("recorded", {"action_id": "act-1", "state": "s4"}, clock.now())
    (journal.folder / "journal.head").write_bytes(head)
    assert states(journal) == ["s1", "s2", "s3", "s4"]
    assert journal.read().bad == ()


def test_a_crash_before_the_first_head_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    journal = Journal(tmp_path / "standing", Seal(new_key_pair()[0], "here"))
    journal.append("recorded", {"action_id": "act-1", "state": "s1"}, clock.now())
    (journal.folder / "journal.head").unlink()
    assert journal.read().bad == ()


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"seq": 1}'])
def test_a_head_that_is_gone_or_no_head_shows(journal: Journal, content: bytes | None) -> None:
    head = journal.folder / "journal.head"
    if content is None:
        head.unlink()
    else:
        head.write_bytes(content)
    assert "head" in journal.read().problem


def test_a_rotated_journal_is_kept_and_the_chain_goes_on(
    journal: Journal, clock: FakeClock
) -> None:
    last = journal.read().tail
    kept = journal.rotate(clock.now())
    assert journal.is_empty
    assert journal.read().bad == ()
    assert [line.body["state"] for line in journal.lines_of(kept)] == ["s1", "s2", "s3"]
    journal.append("recorded", {"action_id": "act-2", "state": "s4"}, clock.now())
    assert journal.read().bad == ()
    assert json.loads(journal.path.read_text())["previous"] == last[1]
    assert journal.read().tail[0] == 4
    assert journal.kept(clock.now()) == [kept]
    assert journal.kept(clock.now() + timedelta(seconds=1)) == []


def test_a_crash_between_the_new_head_and_the_rename_is_finished(
    journal: Journal, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Path.replace

    def dies(path: Path, target: Path) -> Path:
        if path == journal.path:
            raise OSError("died")
        return really(path, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(OSError, match="died"):
        journal.rotate(clock.now())
    monkeypatch.undo()
    assert journal.read().problem == ""
    assert states(journal) == ["s1", "s2", "s3"]
    journal.rotate(clock.now())
    assert journal.read().problem == ""

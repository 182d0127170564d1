"""Text that would act where it is shown, or hide in it, is seen for what it is."""

import pytest

from tools.kit.operation import Plan
from tools.kit.plain import one_line, quoted, visible


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("Restart catalog-1", "Restart catalog-1"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\r\nb", "a\nb"),
        ("denied\rapproved", "denied⟨000D⟩approved"),
        ("\x1b[2Kdone", "⟨001B⟩[2Kdone"),
        ("\x9b2Kdone", "⟨009B⟩2Kdone"),
        ("catalog-\u202e1-golatac", "catalog-⟨202E⟩1-golatac"),
        ("\u2067x\u2069", "⟨2067⟩x⟨2069⟩"),
        ("cat\u200balog\u2060\ufeff\u00ad", "catalog"),
        ("cat\u200dalog\u200c", "catalog"),
        ("\U000e0041\U000e0042x", "x"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("Zürich, Ελλάδα, 東京", "Zürich, Ελλάδα, 東京"),
    ],
)
def test_what_acts_is_shown_and_what_hides_is_dropped(given: str, seen: str) -> None:
    assert visible(given) == seen
    assert visible(seen) == seen


def test_a_line_stays_one_line_and_ends() -> None:
    assert one_line("  a\n+ b", 80) == "  a + b"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"


def test_a_quotation_cannot_be_left() -> None:
    assert quoted("gone” (approved) “so") == "“gone' (approved) 'so”"


def test_a_plan_holds_single_visible_lines() -> None:
    plan = Plan(
        target="catalog/catalog-1",
        summary="Restart\x1b[2K",
        diff=["- old\n+ nothing changes", "+ \u202enew"],
        state={},
        region={},
    )

    assert plan.summary == "Restart⟨001B⟩[2K"
    assert plan.diff == ["- old + nothing changes", "+ ⟨202E⟩new"]

"""What a database can't keep is found, and replaced, wherever it lies."""

import pytest

from tools.kit.storable import MARK, is_storable, storable


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("plain, ünïcode, 😀", "plain, ünïcode, 😀"),
        ("zero \x00 byte", f"zero {MARK} byte"),
        ("half \ud83d a character", f"half {MARK} a character"),
        ({"k\x00": ["a", {"b": "\udfff"}]}, {f"k{MARK}": ["a", {"b": MARK}]}),
        ([1, None, True, 2.5], [1, None, True, 2.5]),
    ],
)
def test_what_can_not_be_kept_is_replaced(value: object, kept: object) -> None:
    assert storable(value) == kept
    assert is_storable(value) == (value == kept)
    assert is_storable(storable(value))


def test_depth_is_no_obstacle_to_looking() -> None:
    value: object = "\x00"
    for _ in range(50_000):
        value = [value]

    assert not is_storable(value)

"""Text that a database can keep: without zero bytes and without halves of characters.

JSON can write both as escapes, logs hold the first, and PostgreSQL takes neither.
"""

import re
from collections.abc import Mapping
from typing import Any

_UNSOUND = re.compile("[\x00\ud800-\udfff]")
MARK = "\ufffd"
"""What stands in the place of what can't be kept."""


def is_storable(value: Any) -> bool:
    """Whether every text in *value* can be kept, however deep it lies; keys count as well."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and _UNSOUND.search(one):
            return False
        if isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            left += one
    return True


def storable(value: Any) -> Any:
    """*value* with `MARK` in the place of each character that can't be kept."""
    if isinstance(value, str):
        return _UNSOUND.sub(MARK, value)
    if isinstance(value, Mapping):
        return {storable(key): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value

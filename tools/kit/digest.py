"""Digests of values: the same value gives the same digest, whatever its key order."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """SHA-256 (hex, 64 characters) of the canonical JSON of *value*.

    Raises:
        TypeError: *value* holds something JSON can't carry.
        ValueError: *value* holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()

"""Identifiers a person can read aloud: a prefix naming the kind and twelve random characters."""

import secrets

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def new_id(prefix: str) -> str:
    """A fresh identifier such as `act-7k2m9qh4xw3c` (59 random bits, no look-alikes)."""
    return f"{prefix}-{''.join(secrets.choice(ALPHABET) for _ in range(12))}"

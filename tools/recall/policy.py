"""What is worth recalling, and how much of it."""

LEAST_SIMILARITY = 0.12
"""Below it two texts share small words and chance trigrams only: unrelated incident reports of the
tests reach 0.08, reports of the same fault on another replica 0.4 and more."""
MOST_RESULTS = 20
"""Memories one question may ask for."""
MAX_TEXT = 8_000
"""Characters of one memory."""

"""What is worth recalling, and how much of it."""

LEAST_SIMILARITY = 0.12
"""Measured with the lexical embedding (`tests/tools/recall`): a question and a report it isn't
about reach 0.10, a question and the report it is about begin at 0.2."""
MOST_RESULTS = 20
"""Memories one question may ask for."""
MAX_TEXT = 8_000
"""Characters of one memory."""

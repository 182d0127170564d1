"""The example utterances that each specialist declares in `agents/<specialist>/examples.yaml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from agents.roster import ROSTER

AGENTS = Path(__file__).resolve().parent.parent
SMALL_TALK = "embedded"
"""The folder whose intents no specialist has: out of scope, greeting, thanks, help."""

SERVICES = ("catalog", "player", "worker", "web-1", "postgres", "search", "payments", "catalog-2")
"""What `{service}` is filled with in turn, so that no one name carries a meaning."""


@dataclass(frozen=True)
class Example:
    """One sentence, who it is for and what it wants."""

    text: str
    owner: str
    """A specialist's name, or for small talk the intent itself."""
    intent: str


def read_examples(folder: Path = AGENTS) -> tuple[Example, ...]:
    """Every example of every specialist and of small talk, placeholders filled.

    Raises:
        ValueError: a file is missing or has another shape; the message names it.
    """
    return tuple(
        example
        for name in (*(one.name for one in ROSTER), SMALL_TALK)
        for example in _read(folder / name / "examples.yaml", name)
    )


def _read(path: Path, name: str) -> Iterator[Example]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must map each intent to a list of sentences.")
    turn = 0
    for intent, texts in content.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path}: {intent} must be a list of sentences; quote odd ones.")
        owner = intent if name == SMALL_TALK else name
        for text in texts:
            if "{service}" not in text:
                yield Example(text, owner, intent)
                continue
            yield Example(text.replace("{service}", SERVICES[turn]), owner, intent)
            turn = (turn + 1) % len(SERVICES)

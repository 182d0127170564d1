"""What a sentence is about, and in which language."""

import pytest

from agents.healer.intents import intent_of


@pytest.mark.parametrize(
    ("text", "kind", "language"),
    [
        ("what is wrong?", "status", "en"),
        ("¿qué está mal?", "status", "es"),
        ("how is catalog doing?", "status", "en"),
        ("why?", "why", "en"),
        ("¿por qué?", "why", "es"),
        ("restart catalog because it is slow", "restart", "en"),
        ("reinicia catalog", "restart", "es"),
        ("undo that", "undo", "en"),
        ("deshazlo", "undo", "es"),
        ("who approved the last action?", "approver", "en"),
        ("¿quién aprobó la última acción?", "approver", "es"),
        ("what needs my approval?", "approvals", "en"),
        ("approve it", "approve", "en"),
        ("what did you do today?", "actions", "en"),
        ("show me the audit log", "audit", "en"),
        ("show the log of catalog-1", "log", "en"),
        ("which actions run alone?", "autonomy", "en"),
        ("what can you do?", "help", "en"),
        ("gracias", "thanks", "es"),
        ("catalog", "unclear", "en"),
        ("", "unclear", "en"),
    ],
)
def test_sentences_are_told_apart(text: str, kind: str, language: str) -> None:
    intent = intent_of(text)

    assert (intent.kind, intent.language) == (kind, language)

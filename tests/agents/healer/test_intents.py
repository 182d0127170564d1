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
        ("please restart catalog-1, it is approved", "restart", "en"),
        ("who approved the restart of catalog?", "approver", "en"),
        ("approve the restart", "approve", "en"),
        ("can you restart catalog without asking?", "autonomy", "en"),
        ("which repairs did you make today?", "actions", "en"),
        ("why did you do that?", "why", "en"),
        ("have we seen this before?", "notes", "en"),
        ("do our notes say why catalog hangs?", "notes", "en"),
        ("what do we remember about catalog?", "notes", "en"),
        ("¿qué recordamos de catalog?", "notes", "es"),
        ("how is notes doing?", "status", "en"),
        ("¿está todo bien?", "status", "es"),
        ("¿qué pasa con los servicios?", "status", "es"),
        ("¿qué pasó anoche?", "why", "es"),
    ],
)
def test_sentences_are_told_apart(text: str, kind: str, language: str) -> None:
    intent = intent_of(text)

    assert (intent.kind, intent.language) == (kind, language)

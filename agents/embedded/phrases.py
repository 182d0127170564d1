"""What the embedded router says itself, in the language it was spoken to: English or Spanish."""

import re
from collections.abc import Sequence
from typing import Literal

from agents.embedded.grams import words
from agents.roster import ROSTER, Specialist

Language = Literal["en", "es"]

_SPANISH = frozenset(
    [
        *("que", "como", "esta", "estan", "el", "los", "las", "por", "para", "una", "hola", "y"),
        *("reinicia", "dime", "muestra", "muestrame", "deshaz", "deshazlo", "gracias", "cual"),
        *("quien", "cuando", "donde", "hay", "puedes", "del", "mi", "va", "se", "con", "ayuda"),
        *("necesito", "archiva", "libera", "arregla", "escribeme", "cuentame", "buenos", "buenas"),
    ]
)
_ENGLISH = frozenset(
    [
        *("the", "is", "are", "what", "why", "how", "who", "to", "of", "and", "for", "me", "my"),
        *("you", "it", "please", "restart", "show", "tell"),
    ]
)


def language(text: str) -> Language:
    """Spanish where inverted marks or more Spanish than English small words say so."""
    if re.search("[¿¡]", text[:500]):
        return "es"
    found = words(text)[:100]
    return "es" if _count(found, _SPANISH) > _count(found, _ENGLISH) else "en"


def _count(found: Sequence[str], known: frozenset[str]) -> int:
    return sum(word in known for word in found)


def greeting(tongue: Language) -> str:
    """To a greeting."""
    return {
        "en": "Hello! I look after the academy's services. " + _offer("en"),
        "es": "¡Hola! Cuido de los servicios de la academia. " + _offer("es"),
    }[tongue]


def thanks(tongue: Language) -> str:
    """To thanks, praise or a goodbye."""
    return {
        "en": "You're welcome. I keep watching the services; ask any time.",
        "es": "De nada. Sigo vigilando los servicios; pregunta cuando quieras.",
    }[tongue]


def abilities(tongue: Language) -> str:
    """To "what can you do?"."""
    coming = [one for one in ROSTER if not one.ready]
    if tongue == "es":
        return (
            "Puedo decirte cómo están los servicios, explicar incidentes y sus causas, proponer "
            "reinicios y archivar datos antiguos (tú lo apruebas), deshacer lo que se puede "
            "deshacer y mostrar aprobaciones, acciones y auditoría. " + _offer("es")
        )
    later = "; ".join(f"{one.title.lower()} ({one.coming})" for one in coming)
    return (
        "I can tell you how the services are, explain incidents and their causes, propose restarts "
        "and archiving old data (you approve), undo what can be undone, and show approvals, "
        f"actions and the audit trail. {_offer('en')} Not part of the academy yet: {later}."
    )


def out_of_scope(tongue: Language, part: str | None = None) -> str:
    """A plain no; *part* quotes what it is about when other parts of the message are served."""
    quoted = f" («{part}»)" if part and tongue == "es" else f' ("{part}")' if part else ""
    return {
        "en": f"That{quoted} isn't something this academy does. {_offer('en')}",
        "es": f"Eso{quoted} no es algo que haga esta academia. {_offer('es')}",
    }[tongue]


def unclear(tongue: Language) -> str:
    """When no request can be made out at all."""
    return {
        "en": f"I can't make out a request in that. What would you like to know or do? "
        f"{_offer('en')}",
        "es": f"No encuentro una petición en eso. ¿Qué quieres saber o hacer? {_offer('es')}",
    }[tongue]


def other_script() -> str:
    """When the text is in a script the examples don't cover."""
    return (
        "I understand English and Spanish. Could you ask in one of them? "
        "Entiendo inglés y español: ¿puedes preguntar en uno de ellos?"
    )


def too_long(length: int) -> str:
    """When a very long text holds no request."""
    return (
        f"That text has {length:,} characters and I can't make out a request in it. "
        "What would you like me to do? Say it in a sentence or two."
    )


def too_many(tongue: Language, count: int, most: int) -> str:
    """When a message asks for more than can be followed."""
    return {
        "en": f"That is {count} things at once; I take {most} at most. Which ones first?",
        "es": f"Son {count} cosas a la vez; hago {most} como máximo. ¿Cuáles primero?",
    }[tongue]


def nothing_before(tongue: Language) -> str:
    """When a message refers to something, and nothing was said before."""
    return {
        "en": "What does that refer to? Name the service, the incident or the action, for example "
        '"why did catalog restart?".',
        "es": "¿A qué te refieres? Nombra el servicio, el incidente o la acción, por ejemplo "
        "«¿por qué se reinició catalog?».",
    }[tongue]


def which(tongue: Language, candidates: Sequence[Specialist], text: str) -> str:
    """When two specialists may be meant."""
    quoted = " ".join(text.split())
    quoted = quoted if len(quoted) <= 80 else quoted[:77] + "..."
    if len(candidates) < 2:
        return {
            "en": f'I am not sure what you want with "{quoted}". {_offer("en")}',
            "es": f"No estoy seguro de qué quieres con «{quoted}». {_offer('es')}",
        }[tongue]
    choices = [f"{one.title.lower()} ({_short(one)})" for one in candidates]
    return {
        "en": f'Is "{quoted}" for the {choices[0]} or for the {choices[1]}?',
        "es": f"¿«{quoted}» es para «{choices[0]}» o para «{choices[1]}»?",
    }[tongue]


def _short(one: Specialist) -> str:
    return one.summary.split(":")[0].rstrip(".").lower()


def _offer(tongue: Language) -> str:
    return {
        "en": 'Try "what is wrong?", "how is catalog?" or "restart player".',
        "es": "Prueba «¿qué está mal?», «¿cómo está catalog?» o «reinicia player».",
    }[tongue]

"""The embedded healer's words for what is on record: actions, questions, incidents, audit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.healer.intents import Intent, Language
from agents.healer.phrases import moment, sentence

Data = Mapping[str, Any]
STATES = {
    "asked": "waits for a decision",
    "denied": "was denied",
    "expired": "expired without a decision",
    "withdrawn": "was withdrawn",
    "permitted": "is permitted and about to begin",
    "intended": "is being done",
    "applied": "is done and being checked",
    "verified": "was done and helped",
    "not_helped": "was done and did not help",
    "undoing": "is being undone",
    "undone": "was undone",
    "failed": "failed; nothing changed",
    "escalated": "needs a person",
    "stuck": "is stuck and needs a person",
    "refused": "was refused by the gate",
    "permit_expired": "was permitted but not begun in time",
}
STATES_ES = {
    "asked": "espera una decisión",
    "denied": "fue denegada",
    "expired": "caducó sin decisión",
    "withdrawn": "fue retirada",
    "verified": "se hizo y ayudó",
    "not_helped": "se hizo y no ayudó",
    "undone": "fue deshecha",
    "failed": "falló; nada cambió",
}
MOST = 8
"""Lines of one list; the rest is counted."""
NOTE_CHARACTERS = 300
"""Longest note that is told in full: more of it would bury the others."""


def listed(intent: Intent, data: Data) -> str:
    """The answer of the one tool a question called for."""
    tellers: dict[str, Callable[[Data, Language], str]] = {
        "approver": approver,
        "approvals": approvals,
        "autonomy": autonomy,
        "audit": audit,
        "actions": actions,
        "incidents": incidents,
    }
    return tellers[intent.kind](data, intent.language)


def _state(state: str, language: Language) -> str:
    if language == "es":
        return STATES_ES.get(state, f"está en el estado {state}")
    return STATES.get(state, f"is {state}")


def _bullets(lines: Sequence[str], head: str) -> str:
    shown = [f"- {line}" for line in lines[:MOST]]
    if len(lines) > MOST:
        shown.append(f"- and {len(lines) - MOST} more on the Audit page")
    return "\n".join([head, *shown]) if head else "\n".join(shown)


def _action_line(one: Data, language: Language) -> str:
    by = f", approved by {one['approved_by']}" if one["approved_by"] else ""
    if language == "es":
        by = f", aprobada por {one['approved_by']}" if one["approved_by"] else ""
    summary = one["summary"].rstrip(".")
    return f"{moment(one['created_at'])}: {summary}; {_state(one['state'], language)}{by}."


def approver(data: Data, language: Language) -> str:
    """Who approved the newest action that needed it."""
    for one in data["actions"]:
        if one["approved_by"]:
            summary, at = one["summary"].rstrip("."), moment(one["created_at"])
            if language == "es":
                return (
                    f"{one['approved_by']} aprobó la última acción: {summary} ({at}); "
                    f"{_state(one['state'], language)}."
                )
            return (
                f"{one['approved_by']} approved the last action: {summary}, asked at {at}. "
                f"It {_state(one['state'], language)}."
            )
    if not data["actions"]:
        return (
            "Nobody yet: nothing has been done to the fleet."
            if language == "en"
            else "Nadie todavía: no se ha hecho nada."
        )
    newest = data["actions"][0]
    if language == "es":
        return f"Nadie la ha aprobado. {_action_line(newest, language)}"
    return f"Nobody has approved one so far. The newest: {_action_line(newest, language)}"


def approvals(data: Data, language: Language) -> str:
    """What waits for a person, and until when."""
    lines = [f"{one['title']} (until {moment(one['expires_at'])})" for one in data["approvals"]]
    if not lines:
        return (
            "Nothing waits for your approval." if language == "en" else "Nada espera tu aprobación."
        )
    if language == "es":
        return _bullets(lines, "Espera aprobación, en la página Ops:")
    return _bullets(lines, "Waiting for approval, on the Ops page:")


def autonomy(data: Data, language: Language) -> str:
    """What may run alone, and why the rest asks."""
    lines = [
        f"{one['title']} ({one['risk']} risk): {one['level']}. {sentence(one['reason'])}"
        for one in data["operations"]
    ]
    return _bullets(lines, "" if language == "en" else "Autonomía por operación:")


def audit(data: Data, language: Language) -> str:
    """The newest rows of the audit log."""
    lines = [
        f"{moment(one['at'])}: {one['kind']} {one['subject']} by {one['actor']}"
        for one in data["rows"]
    ]
    if not lines:
        return "The audit log is empty."
    return _bullets(lines, "The newest rows:" if language == "en" else "Las filas más recientes:")


def actions(data: Data, language: Language) -> str:
    """What was done in the last 24 hours."""
    lines = [_action_line(one, language) for one in data["actions"]]
    if not lines:
        return (
            "Nothing was done to the fleet in the last 24 hours."
            if language == "en"
            else "No se hizo nada en las últimas 24 horas."
        )
    return _bullets(
        lines, "In the last 24 hours:" if language == "en" else "En las últimas 24 horas:"
    )


def incidents(data: Data, language: Language) -> str:
    """What went wrong lately."""
    lines = []
    for one in data["incidents"]:
        ended = f"closed {moment(one['closed_at'])}" if one["closed_at"] else "still open"
        lines.append(f"{moment(one['opened_at'])}: {one['title'].rstrip('.')}; {ended}")
    if not lines:
        return "There have been no incidents." if language == "en" else "No ha habido incidentes."
    return _bullets(lines, "Incidents, newest first:" if language == "en" else "Incidentes:")


def notes(data: Data, language: Language) -> str:
    """What is remembered, in quotation marks: it is text from elsewhere, whoever wrote it."""
    told = [" ".join(one.split()) for one in data["notes"]]
    lines = [
        f"“{one[:NOTE_CHARACTERS]}”{' ...' if len(one) > NOTE_CHARACTERS else ''}" for one in told
    ]
    if not lines:
        return (
            "Nothing like it is remembered." if language == "en" else "No hay recuerdo de algo así."
        )
    return _bullets(lines, "What is remembered:" if language == "en" else "Lo que se recuerda:")


def why(
    explained: Data | None, acts: Sequence[Data], service: str | None, language: Language
) -> str:
    """The cause of the newest trouble, its evidence, and what was done about it."""
    incident = explained["incident"] if explained else None
    newest = acts[0] if acts else None
    asked = newest is not None and newest["incident_id"] is None and newest["warrant"]
    if newest and asked and (incident is None or newest["created_at"] > incident["opened_at"]):
        because = f"because a person asked for it: “{newest['warrant']}”"
        if language == "es":
            because = f"porque una persona lo pidió: «{newest['warrant']}»"
        lines = [f"{newest['summary'].rstrip('.')}: {because}."]
        lines.append(_action_line(newest, language))
        if incident is not None:
            lines.append(_incident(incident, language))
        return "\n\n".join(lines)
    if incident is None:
        about = f" with {service}" if service else ""
        return (
            f"Nothing has gone wrong{about} so far, so there is nothing to explain."
            if language == "en"
            else "Nada ha ido mal hasta ahora; no hay nada que explicar."
        )
    lines = [_incident(incident, language)]
    lines += [_action_line(one, language) for one in acts if one["incident_id"] == incident["id"]]
    return "\n\n".join(lines)


def _incident(one: Data, language: Language) -> str:
    head = f"{one['title'].rstrip('.')} ({moment(one['opened_at'])})."
    cause = one["cause"] or (
        "The cause is not known." if language == "en" else "No se conoce la causa."
    )
    word = "Cause" if language == "en" else "Causa"
    evidence = [f"- {sentence(line['text'])}" for line in one["evidence"][:4]]
    parts = [f"{head} {word}: {sentence(cause)}", *evidence]
    if one["closed_at"]:
        ended = "Closed" if language == "en" else "Cerrado"
        parts.append(f"{ended} {moment(one['closed_at'])}: {sentence(one['resolution'] or '-')}")
    return "\n".join(parts)

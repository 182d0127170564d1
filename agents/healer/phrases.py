"""The embedded healer's words: results of tools as short sentences, in English and Spanish.

Nothing here decides; a phrase says what a tool has answered, with its names, figures and times.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agents.embedded.protocol import Call
from agents.healer.intents import Intent, Language, plain
from tools.healing.signals import titled

Data = Mapping[str, Any]

STATUS_ES = {
    "healthy": "sano",
    "slow": "lento",
    "failing": "fallando",
    "hung": "colgado",
    "dead": "caído",
    "starting": "arrancando",
    "stopped": "parado",
    "unknown": "desconocido",
}
KIND_ES: dict[str, str] = {
    "hung": "{target} está colgado: acepta conexiones y no responde",
    "dead": "{target} está caído",
    "crashed": "{target} se cayó y fue reiniciado",
    "disk_filling": "el disco de {target} se está llenando",
    "store_down": "la base de datos no responde",
}
FIXED: dict[str, dict[Language, str]] = {
    "thanks": {"en": "You're welcome.", "es": "De nada."},
    "help": {
        "en": (
            "I look after the running services. Ask me what is wrong and why, how a service is "
            "doing, what was done and who approved it. I can ask for two repairs, restarting a "
            "replica and archiving old data, and for undoing the latter; a person approves each."
        ),
        "es": (
            "Cuido de los servicios en marcha. Pregúntame qué está mal y por qué, cómo está un "
            "servicio, qué se hizo y quién lo aprobó. Puedo pedir dos reparaciones, reiniciar una "
            "réplica y archivar datos viejos; cada una la aprueba una persona."
        ),
    },
    "approve": {
        "en": (
            "I can't decide for you: press Approve or Deny on the card in this conversation or on "
            "the Ops page, or use `academy approvals`."
        ),
        "es": (
            "No puedo decidir por ti: pulsa Aprobar o Denegar en la tarjeta de esta conversación "
            "o en la página Ops."
        ),
    },
    "left": {
        "en": "All right: I leave it as it is and ask for nothing.",
        "es": "De acuerdo: lo dejo como está y no pido nada.",
    },
    "unclear": {
        "en": (
            "I don't understand that. Do you want to know how a service is doing, or have one "
            "restarted? For example: “what is wrong?” or “restart catalog”."
        ),
        "es": (
            "No lo entiendo. ¿Quieres saber cómo está un servicio o que se reinicie uno? Por "
            "ejemplo: «¿qué está mal?» o «reinicia catalog»."
        ),
    },
}
NEGATED = re.compile(r"\b(?:dont|do not|never|not|no|stop|leave|nunca|deja)\b")
RETRY_TAIL = re.compile(r"\s*Fix the errors and try again\.\s*$")
POINTS_BACK = re.compile(r"\b(?:it|that|this one|them|lo|eso|esa|ese)\b|(?:lo|la)$")


def points_back(text: str) -> bool:
    """Whether the sentence means something mentioned before: "restart it"."""
    return POINTS_BACK.search(plain(text).strip(" .!?")) is not None


def moment(value: str | None) -> str:
    """A time as people read it: `23 Nov 09:04 UTC`."""
    if not value:
        return "an unknown time"
    at = datetime.fromisoformat(value).astimezone(UTC)
    return f"{at.day} {at:%b %H:%M} UTC"


def span(since: str | None, until: str | None, language: Language = "en") -> str:
    """How long something has lasted: `for 40 s`; empty where it isn't known."""
    if not since or not until:
        return ""
    seconds = (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    if seconds < 0:
        return ""
    amount = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    if seconds >= 7200:
        amount = f"{seconds / 3600:.0f} h"
    return f" for {amount}" if language == "en" else f" desde hace {amount}"


def status_word(status: str, language: Language) -> str:
    """A replica's status in the reader's language."""
    return STATUS_ES.get(status, status) if language == "es" else status


def fixed(intent: Intent) -> str:
    """Words that depend on nothing but the question."""
    return FIXED.get(intent.kind, FIXED["unclear"])[intent.language]


def failed(sentences: Sequence[str], language: Language) -> str:
    """What tools said instead of an answer."""
    told = " ".join(dict.fromkeys(RETRY_TAIL.sub("", one) for one in sentences))
    return told if language == "en" else f"No ha sido posible: {told}"


def fleet(seen: Data, language: Language) -> str:
    """The whole fleet: what is wrong first, else that all is well."""
    if not seen["looked_at"]:
        return (
            "The healer hasn't looked at the fleet yet, so I can't say how it is."
            if language == "en"
            else "El sanador aún no ha mirado los servicios; no puedo decir cómo están."
        )
    lines = [_incident_line(one, seen, language) for one in seen["incidents"]]
    told = {(one["service"], one["replica"]) for one in seen["incidents"]}
    for service in seen["services"]:
        for replica in service["replicas"]:
            ill = replica["status"] not in ("healthy", "starting")
            if ill and not {(service["name"], replica["name"]), (service["name"], None)} & told:
                lines.append(_replica_line(replica, seen["looked_at"], language))
    if not lines:
        services = len(seen["services"])
        replicas = sum(len(one["replicas"]) for one in seen["services"])
        at = moment(seen["looked_at"])
        if language == "es":
            return (
                f"Nada está mal: los {services} servicios ({replicas} réplicas) están sanos. "
                f"Última mirada: {at}."
            )
        return (
            f"Nothing is wrong: all {services} services ({replicas} replicas) are healthy, "
            f"last looked at {at}."
        )
    return "\n".join(lines) if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def _incident_line(one: Data, seen: Data, language: Language) -> str:
    lasting = span(one["opened_at"], seen["looked_at"], language)
    if language == "es":
        name = one["replica"] or one["service"]
        what = str(KIND_ES.get(one["kind"], one["title"])).format(target=name)
        ends = {
            "asking": " He pedido una reparación; espera aprobación en la página Ops.",
            "acting": " Se está reparando ahora.",
            "escalated": " Hace falta una persona.",
        }
        return f"{what[0].upper()}{what[1:]}{lasting}.{ends.get(one['state'], '')}"
    ends = {
        "asking": " A repair waits for approval on the Ops page.",
        "acting": " It is being repaired now.",
        "verifying": " It was acted upon and is being checked.",
        "waiting": " What it needs can't be asked for yet.",
        "escalated": " It needs a person.",
    }
    cause = f" {sentence(one['cause'])}" if one["cause"] else ""
    title = one["title"].rstrip(".")
    return f"{title}{lasting}.{cause}{ends.get(one['state'], '')}"


def _replica_line(replica: Data, now: str | None, language: Language) -> str:
    lasting = span(replica["since"], now, language)
    note = f" ({replica['note'].rstrip('.')})" if replica["note"] else ""
    verb = "is" if language == "en" else "está"
    return f"{replica['name']} {verb} {status_word(replica['status'], language)}{lasting}{note}."


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    words = text.strip()
    return words if words.endswith((".", "!", "?")) else f"{words}."


def services(told: Sequence[Data], seen: Data, language: Language, *, every: bool = False) -> str:
    """Each service asked about: its state, its replicas, and the figures people ask for first.

    With *every*, all figures there are.
    """
    return "\n".join(_service(one, seen, language, every=every) for one in told)


def _service(one: Data, seen: Data, language: Language, *, every: bool) -> str:
    verb = "is" if language == "en" else "está"
    lines = [f"{one['name']} {verb} {status_word(one['status'], language)}."]
    told = {i["replica"] for i in seen["incidents"] if i["service"] == one["name"]}
    for replica in one["replicas"]:
        if replica["name"] in told:
            continue
        signals = replica["signals"]
        figures = ", ".join(
            [_figure(name, value) for name, value in signals.items()]
            if every
            else _gist(signals, language)
        )
        lines.append(
            f"- {_replica_line(replica, seen['looked_at'], language)[:-1]}"
            f"{'; ' + figures if figures else ''}."
        )
    lines += [
        f"- {_incident_line(incident, seen, language)}"
        for incident in seen["incidents"]
        if incident["service"] == one["name"]
    ]
    return "\n".join(lines)


SIGNALS = re.compile(
    r"\b(?:signals?|metrics?|figures|numbers|details?|memory|cpu|open files|senales|metricas|"
    r"cifras|detalles?|memoria)\b"
)


def wants_figures(text: str) -> bool:
    """Whether the sentence asks for the figures themselves."""
    return SIGNALS.search(plain(text)) is not None


def _gist(signals: Mapping[str, float], language: Language) -> list[str]:
    """How fast it answers, how much it is asked, and whether it fails; what isn't known is not."""
    spanish = language == "es"
    said = []
    answer = signals.get("answer_ms") or signals.get("latency_ms")
    if answer:
        said.append(f"{'responde en' if spanish else 'answers in'} {_amount(answer)} ms")
    rate = signals.get("requests_per_second")
    if rate is not None:
        said.append(f"{_amount(rate)} {'peticiones' if spanish else 'requests'}/s")
    errors = signals.get("error_percent")
    if errors is not None:
        none = "sin errores" if spanish else "no errors"
        some = f"{_amount(errors)}% {'de errores' if spanish else 'errors'}"
        said.append(some if errors else none)
    waiting = signals.get("queue_depth")
    if waiting:
        said.append(f"{_amount(waiting)} {'en cola' if spanish else 'waiting in its queue'}")
    return said


def _amount(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _figure(name: str, value: float) -> str:
    """`rss_mb` 56.1 as `memory 56 MB`."""
    title, unit = titled(name)
    words = title if title.isupper() else title[:1].lower() + title[1:]
    return f"{words} {_amount(value)} {unit}".rstrip().replace(" %", "%").replace(" /s", "/s")


def log(data: Data, language: Language) -> str:
    """The end of a log, quoted as what it is."""
    if not data["lines"]:
        return f"The log of {data['replica']} is empty."
    said = "The last lines" if language == "en" else "Las últimas líneas"
    quoted = "\n".join(f"    {line}" for line in data["lines"][-12:])
    return f"{said} ({data['replica']}):\n\n{quoted}"


def asking(calls: Sequence[Call], seen: Data, language: Language) -> str:
    """What is about to be put to the gate."""
    names = [str(call.arguments.get("replica") or call.arguments["service"]) for call in calls]
    ill = [
        _replica_line(replica, seen["looked_at"], language)
        for service in seen["services"]
        for replica in service["replicas"]
        if service["name"] in {call.arguments["service"] for call in calls}
        and replica["status"] not in ("healthy", "starting")
    ]
    state = " ".join(ill)
    what = "; ".join(_asked(call, name, language) for call, name in zip(calls, names, strict=True))
    if language == "es":
        return f"{state} Pido: {what}. Si hace falta aprobación, espera en la tarjeta.".strip()
    return f"{state} Asking for: {what}. If it needs approval, it waits on the card.".strip()


def _asked(call: Call, name: str, language: Language) -> str:
    if call.name == "restart_replica":
        return f"restart {name}" if language == "en" else f"reiniciar {name}"
    return f"archive old data of {name}" if language == "en" else f"archivar datos viejos de {name}"


def not_asked(intent: Intent, text: str, unsure: Sequence[str], example: str) -> str:
    """No door was opened: what was unclear, that nothing happens, or how to say it."""
    if unsure:
        return " ".join(unsure)
    if NEGATED.search(plain(text).replace("\u2019", "").replace("'", "")):
        return FIXED["left"][intent.language]
    verbs = {
        ("restart", "en"): "restart",
        ("restart", "es"): "reinicia",
        ("archive", "en"): "archive old data of",
        ("archive", "es"): "archiva los datos viejos de",
    }
    verb = verbs[intent.kind, intent.language]
    if intent.language == "es":
        return f"No he pedido nada. Si quieres que lo pida, dilo así: «{verb} {example}»."
    return f"I have asked for nothing. If you want it done, say it plainly: “{verb} {example}”."


DONE_ES = {
    "verified": "hecho, y ha ayudado.",
    "undone": "deshecho.",
    "failed": "ha fallado; nada cambió.",
    "escalated": "hace falta una persona.",
    "stuck": "no se sabe si ocurrió; hace falta una persona.",
    "withdrawn": "retirado; no se hizo nada.",
}


def outcome(told: Sequence[Any], language: Language) -> str:
    """What came of the doors that were opened."""
    lines = []
    for one in told:
        if isinstance(one, str):
            lines.append(failed([one], language))
            continue
        if one.get("held"):
            lines.append(held(one, language))
            continue
        lines += [_ended(action, language) for action in one["actions"]]
        if one["not_begun"]:
            left = one["not_begun"]
            lines.append(
                f"{left} more {'was' if left == 1 else 'were'} not begun."
                if language == "en"
                else f"Quedan {left} sin empezar."
            )
    return "\n".join(lines)


NOUNS: dict[str, dict[Language, str]] = {
    "healing.restart_replica": {"en": "A restart of {name}", "es": "Un reinicio de {name}"},
    "healing.archive_old_data": {
        "en": "Archiving old data of {name}",
        "es": "El archivado de datos viejos de {name}",
    },
}


def held(one: Data, language: Language) -> str:
    """What is open on a target already, since when, and what the person can do about it."""
    name = str(one["target"]).rsplit("/", 1)[-1].removesuffix(":data")
    noun = NOUNS.get(one["operation"], {"en": "Something on {name}", "es": "Algo en {name}"})
    what, since = noun[language].format(name=name), ago(one["seconds"], language)
    if language == "es":
        doing = {
            "asked": f"ya espera aprobación (se pidió {since}). Apruébalo o deniégalo en su "
            "tarjeta o en la página Ops.",
            "permitted": f"ya está aprobado y a punto de empezar ({since}).",
            "stuck": f"está atascado ({since}): una persona tiene que mirar y liberarlo.",
        }.get(one["state"], f"ya está en marcha ({since}); espera a que termine.")
        return f"{what} {doing}"
    doing = {
        "asked": f"is already waiting for approval (asked {since}). Approve or deny it on its "
        "card, or on the Ops page.",
        "permitted": f"is approved and about to begin ({since}).",
        "stuck": f"is stuck ({since}): a person has to look and release it.",
    }.get(one["state"], f"is already under way ({since}); wait until it has ended.")
    return f"{what} {doing}"


def ago(seconds: int, language: Language) -> str:
    """How long ago: `2 minutes ago`, `hace 2 minutos`."""
    size, names = 1, {"en": "second", "es": "segundo"}
    if seconds >= 7200:
        size, names = 3600, {"en": "hour", "es": "hora"}
    elif seconds >= 60:
        size, names = 60, {"en": "minute", "es": "minuto"}
    count = seconds // size
    many = "" if count == 1 else "s"
    if language == "es":
        return f"hace {count} {names['es']}{many}"
    return f"{count} {names['en']}{many} ago"


def _ended(action: Data, language: Language) -> str:
    name = action["target"].rsplit("/", 1)[-1].removesuffix(":data")
    if language == "en":
        return f"{name}: {sentence(action['text'])}"
    _, _, measured = action["text"].partition(". ")
    return f"{name}: {DONE_ES.get(action['state'], action['state'])} {measured}".rstrip()

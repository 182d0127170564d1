"""What a person asked for, read from the person's own words by code and by no model.

A request is an instruction in the imperative that names its target: it is the warrant of an action
asked for in chat. So the reading is narrow on purpose. Only a clause that *begins* with the verb
(after words such as "please" or "can you") is an instruction; a negation, a condition, a question,
a quotation or pasted text is none, and a misspelt name is asked back instead of guessed.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher, get_close_matches

from tools.kit.asked import Reading, Request, RequestedOperation, Unfinished
from tools.kit.infrastructure import Fleet

PASTED_CHARACTERS = 1_500
"""A longer message is taken for pasted text: nobody types an instruction of that length."""
TOO_LONG = (
    f"The message has more than {PASTED_CHARACTERS:,} characters, so nothing in it is taken as an "
    "instruction; say what you want in a short message."
)
CLAUSE_WORDS = 40
"""A longer clause is prose, not an instruction."""
NAME_SIMILARITY = 0.75
"""`difflib` ratio from which a word counts as a misspelt name: one wrong letter in five."""
LETTERS_PER_EDIT = 4
"""A misspelt name differs by one edit for each so many letters begun; two swapped letters are two.
A word of its own that shares letters with a name ("report", `exports`) differs by more."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERBS: dict[str, RequestedOperation] = {
    **dict.fromkeys(("restart", "reboot", "relaunch", "bounce"), "restart"),
    **dict.fromkeys(("reinicia", "reiniciar", "reinicie", "reinicies", "rearranca"), "restart"),
    **dict.fromkeys(("reinicialo", "reiniciala"), "restart"),
    **dict.fromkeys(("archive", "archiva", "archivar", "archivad"), "archive"),
    **dict.fromkeys(("undo", "revert", "deshaz", "deshacer", "deshazlo", "revierte"), "undo"),
}
POLITE = _words(
    "please pls kindly can could would will you we i just now then also and ok okay hey hi hello "
    "yes yeah want need like to lets let us go ahead first next finally after that so well must "
    "por favor puedes podrias quiero necesito que ahora luego despues y tambien hola si vale "
    "me gustaria the a"
)
"""Words that may stand before the verb of an instruction."""
YES = _words("yes yeah ok okay exactly right si vale claro")
MODAL = _words("can could would will puedes podrias")
"""Words that make a question an instruction: "can you restart catalog?"."""
ARTICLES = _words("a the")
WISHES = _words("want need like please quiero necesito gustaria")
"""Without one of these "a restart" is talked about: "would a restart of catalog help?"."""
NEGATIONS = _words(
    "not no never dont doesnt didnt wont cannot cant shouldnt without avoid instead except but "
    "nunca sin tampoco salvo excepto pero"
)
CONDITIONS = _words(
    "if unless when whenever once until after before later tomorrow tonight si cuando hasta "
    "despues luego manana salvo"
)
STOPS = NEGATIONS | CONDITIONS | _words("because since as like than porque como")
BINDING = STOPS | _words("said says say told tells asked wrote reads dice dijo")
"""Words whose meaning reaches over a comma: "if it hangs, restart it" is no instruction."""
ANAPHORA = _words("it that this them lo la eso esto")
DATA_WORDS = _words("data files logs disk space datos archivos disco espacio old viejos")

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_QUOTES = (("`", "`"), ('"', '"'), ("“", "”"), ("«", "»"), ("'", "'"), ("\u2018", "\u2019"))
_LOG_LINE = re.compile(
    r"^\s*(?:>|\||[{<\[]|\d{4}-\d\d-\d\d|\d\d:\d\d|[A-Z][a-z]{2} +\d+ |"
    r"(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b|[\w.-]+:\s|Traceback\b|\s+at |  File )"
)
_CLAUSES = re.compile(
    r"[.!;\n]+(?=\s|$)|(?<=\?)|,\s*(?:and\s+)?then\b|\band then\b|\bthen\b|"
    r",?\s*\by (?:luego|después|despues)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_][\w./-]*[^\W_]|[^\W_]", re.UNICODE)


def read_requests(words: str, fleet: Fleet, *, before: str = "") -> Reading:
    """The instructions in *words* that name their target among the services of *fleet*.

    *before* is what the same person wrote just before: where that was an instruction without a
    usable target and *words* is nothing but a name (or a yes to the name that was offered), the
    two together are the instruction.
    """
    if len(words) > PASTED_CHARACTERS:
        return Reading((), (TOO_LONG,))
    names = _names(fleet)
    found: list[Request] = []
    unsure: list[str] = []
    unfinished: Unfinished | None = None
    for clause in _clauses(_own_words(words, names), names):
        requests, question, lacking = _read_clause(clause, names)
        found += [request for request in requests if request not in found]
        if question and question not in unsure:
            unsure.append(question)
        unfinished = unfinished or lacking
    if not found and not unsure and before:
        open_ = read_requests(before, fleet).unfinished
        if open_ and (completed := _completed(words, open_, names)):
            return Reading((completed,))
    return Reading(tuple(found), tuple(unsure), None if found else unfinished)


def _completed(
    words: str, open_: Unfinished, names: dict[str, tuple[str, str | None]]
) -> Request | None:
    """The instruction that *words* complete, where they are a name or a yes and nothing else."""
    tokens = [_plain(word) for word in _WORD.findall(words)]
    named = [names[token] for token in tokens if token in names]
    rest = [token for token in tokens if token not in names and token not in POLITE]
    if rest or len(named) > 1 or words.rstrip().endswith("?"):
        return None
    target = named[0] if named else open_.meant if YES.intersection(tokens) else None
    if target is None:
        return None
    service, replica = target
    replica = None if open_.operation == "archive" else replica
    return Request(open_.operation, service, replica, f"{open_.operation} {replica or service}")


def names_in(words: str, fleet: Fleet) -> list[tuple[str, str | None]]:
    """Services and replicas *words* mention, in order, misspelt ones included.

    Good enough for looking something up; never a warrant.
    """
    names = _names(fleet)
    found: dict[tuple[str, str | None], None] = {}
    tokens = [_plain(word) for word in _WORD.findall(words[:PASTED_CHARACTERS])]
    for index, token in enumerate(tokens):
        numbered = f"{token}-{tokens[index + 1]}" if index + 1 < len(tokens) else ""
        known = names.get(numbered) or names.get(token.removesuffix("s")) or names.get(token)
        if not known and (near := _near(token, names)):
            known = names[near]
        if known:
            found[known] = None
    return list(found)


def _plain(text: str) -> str:
    """Lower case without accents or apostrophes, so that "Don't" and "después" compare simply."""
    bare = unicodedata.normalize("NFKD", text.lower())
    return re.sub(r"[\u0300-\u036f'\u2019]", "", bare)


def _names(fleet: Fleet) -> dict[str, tuple[str, str | None]]:
    """Each name a person may use, with the service and replica it stands for."""
    names: dict[str, tuple[str, str | None]] = {}
    for service in fleet.services:
        for replica in service.replicas:
            names[_plain(replica.name)] = (service.name, replica.name)
            names[f"{_plain(service.name)}/{_plain(replica.name)}"] = (service.name, replica.name)
    for service in fleet.services:
        names[_plain(service.name)] = (service.name, None)
    return names


def _own_words(words: str, names: Collection[str]) -> str:
    """*words* without code, quoted lines, quotations and lines that look pasted from a log.

    Quotation marks around nothing but a name are kept: restart "catalog" is an instruction.
    """
    text = _FENCED.sub("\n", words)
    text = "\n".join(line for line in text.splitlines() if not _LOG_LINE.match(line))
    for opening, closing in _QUOTES:
        pattern = (
            rf"(?<!\w){re.escape(opening)}([^{re.escape(closing)}]*){re.escape(closing)}(?!\w)"
        )
        text = re.sub(pattern, lambda m: m[1] if _plain(m[1].strip()) in names else " … … ", text)
    return text


def _clauses(text: str, names: Collection[str]) -> Iterator[str]:
    """The parts of *text* that may each be an instruction."""
    verbs = "|".join(VERBS)
    joined = re.compile(
        rf"\b(?:and|also|y|e)\s+(?=(?:please\s+|also\s+|then\s+)?(?:{verbs})\b)", re.IGNORECASE
    )
    for sentence in _CLAUSES.split(text):
        for part in _parts(sentence, names):
            yield from (clause.strip() for clause in joined.split(part) if clause.strip())


def _parts(sentence: str, names: Collection[str]) -> list[str]:
    """A sentence cut at its commas, unless a condition, negation or reported speech spans them."""
    if BINDING.intersection(_plain(word) for word in _WORD.findall(sentence)):
        return [sentence]
    parts: list[str] = []
    for part in sentence.split(","):
        words = _WORD.findall(part)
        if parts and words and _plain(words[0]) in names:
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


def _read_clause(
    clause: str, names: dict[str, tuple[str, str | None]]
) -> tuple[list[Request], str | None, Unfinished | None]:
    """The requests of one clause; or the question it raises, and what would answer it."""
    tokens = [_plain(word) for word in _WORD.findall(clause)]
    if "…" in clause or not tokens or len(tokens) > CLAUSE_WORDS:
        return [], None, None
    at = next((i for i, token in enumerate(tokens) if token in VERBS), None)
    if at is None or any(token not in POLITE for token in tokens[:at]):
        return [], None, None
    if at and tokens[at - 1] in ARTICLES and not WISHES.intersection(tokens[:at]):
        return [], None, None
    operation = VERBS[tokens[at]]
    rest = tokens[at + 1 :]
    if clause.endswith("?") and not MODAL.intersection(tokens[:at]):
        question = f"Is “{clause}” a question, or shall I do it? Say it without the question mark."
        return [], question, None
    if CONDITIONS.intersection(rest):
        question = "I can't wait for a condition or a time; say it when it should happen now."
        return [], question, None
    if operation == "undo":
        return [_undo(clause, rest)], None, None
    return _targets(operation, clause, rest, names)


def _undo(clause: str, rest: list[str]) -> Request:
    action = next((token for token in rest if token.startswith("act-")), None)
    return Request("undo", None, None, clause, action_id=action)


def _targets(
    operation: RequestedOperation,
    clause: str,
    rest: list[str],
    names: dict[str, tuple[str, str | None]],
) -> tuple[list[Request], str | None, Unfinished | None]:
    requests: list[Request] = []
    for index, token in enumerate(rest):
        if token in STOPS:
            break
        numbered = f"{token}-{rest[index + 1]}" if index + 1 < len(rest) else ""
        known = names.get(numbered) or names.get(token)
        if known:
            service, replica = known
            requests.append(
                Request(operation, service, None if operation == "archive" else replica, clause)
            )
        elif near := _near(token, names):
            question = f"There is no “{token}”; did you mean {near}?"
            return [], question, Unfinished(operation, names[near])
    if requests:
        return requests, None, None
    listed = ", ".join(sorted({service for service, _ in names.values()}))
    question = f"Which service do you mean? There are {listed}."
    return [], question, Unfinished(operation, None)


def _near(token: str, names: Collection[str]) -> str | None:
    if len(token) < 4 or token in POLITE | ANAPHORA | DATA_WORDS:
        return None
    close = get_close_matches(token, list(names), n=1, cutoff=NAME_SIMILARITY)
    return (
        close[0]
        if close and _edits(token, close[0]) <= -(-len(token) // LETTERS_PER_EDIT)
        else None
    )


def _edits(token: str, name: str) -> int:
    changes = SequenceMatcher(None, token, name).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for how, i1, i2, j1, j2 in changes if how != "equal")

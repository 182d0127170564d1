"""Where a message goes, decided without a language model.

Split the message, judge each part with a classifier fitted on the specialists' examples, and
abstain rather than guess: noise, unknown scripts and close calls are asked back. What a message
says about rules, roles or instructions has no power here; it is text to be classified.
"""

import re
import unicodedata
from functools import cache

from agents.embedded import phrases
from agents.embedded.classifier import Classifier, Judgement
from agents.embedded.examples import read_examples
from agents.embedded.grams import MAX_CHARACTERS, words
from agents.embedded.protocol import Said, Turn
from agents.embedded.splitting import opening, split
from agents.roster import ROSTER, specialist
from agents.routing import MAX_STEPS, SERVICES_LINE, RouteDecision, Step

NAMES = tuple(one.name for one in ROSTER)
OUT_OF_SCOPE = "out_of_scope"
UNSURE = "unsure"

CONFIDENT = 0.5
"""Least probability of an answer that isn't asked back."""
OUTSIDE_AT_MOST = 0.2
"""Greatest probability of being nobody's at which a message is still a specialist's. Where two of
them are close, the likelier one may answer; where nobody is close to being meant, none may. On the
open half of the requests in `evals/suites/routing`, 98 % of those that are somebody's arrive and
98 % of those that are nobody's are kept from every specialist, as at 0.55 and at 0.25."""
FAMILIAR = 0.55
"""Least share of known trigrams: keyboard noise has under 0.4, English and Spanish over 0.7."""
LOOK_BACK = 20
"""Earlier messages looked at for who spoke last."""

_FOLLOW_UP = re.compile(
    r"^(?:and|but|so|also|then|ok|okay|well|y|pero|entonces)?[\s,]*(?:"
    r"why(?:\s+(?:not|that|is\s+that|so))?|how\s+(?:so|come)|since\s+when|when|who|where|how\s+long|"
    r"which(?:\s+one)?|what\s+about\b.*|how\s+about\b.*|what\s+(?:now|next|else|happened|then)|"
    r"undo(?:\s+(?:it|that|this))?|revert(?:\s+(?:it|that|this))?|do\s+(?:it|that)(?:\s+again)?|"
    r"again|try\s+again|go\s+on|go\s+ahead|continue|yes|yeah|yep|sure|please\s+do|no|nope|"
    r"the\s+other\s+one|both|all|all\s+of\s+them|the\s+(?:first|second|last)(?:\s+one)?|"
    r"(?:is|did|does|was|has)\s+(?:it|that)(?:\s+[\w'-]+){0,4}|what\s+(?:is|was|does)\s+(?:it|that)\b.*|"
    r"more|tell\s+me\s+more|details|more\s+details|really|are\s+you\s+sure|explain(?:\s+that)?|"
    r"por\s*que|y\s+eso|cuando|quien|desde\s+cuando|deshaz(?:lo|\s+eso)|otra\s+vez|si|no|"
    r"que\s+tal\s+.*|sigue|mas|el\s+otro|ambos|todos"
    r")(?:[\s,]+(?:please|thanks|thank\s+you|por\s+favor|gracias))?[\s?!.]*$"
)
_SHORT_TAIL = re.compile(r"^(?:and|y|or|o)\s+(?:the\s+|el\s+|la\s+)?[\w-]+(?:\s+[\w-]+)?[\s?!.]*$")
_RESTART = re.compile(
    r"^(?:please\s+|por\s+favor\s+|(?:can|could|would|will)\s+you\s+(?:please\s+)?|puedes\s+)?"
    r"(?:restart|reboot|relaunch|reinicia(?:r)?)\s+"
    r"(?:(?:the|el|la|los|las)\s+)?(?:(?:service|replica|servicio)\s+)?"
    r"(?!(?:my|your|our|mi|tu)\b)[\w-]{2,60}(?:\s+(?:service|replica))?"
    r"(?:\s+for\s+(?:me|us))?(?:[\s,]+(?:please|por\s+favor|now))?[\s?!.]*$"
)
"""An order to restart one thing. Which things there are the healer knows, so a name that nobody has
is its to ask back; what is somebody's own ("my laptop") is left to the classifier."""
HEALER = "healer"

Fleet = re.Pattern[str] | None
"""Matches the names of the fleet's services, where the instructions name them."""
STANDARD_SERVICE = "catalog"
"""What the classifier reads in place of a service's own name: a service of the examples."""


class IntentRouter:
    """Deterministic, immutable once fitted, safe to share."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @classmethod
    def fitted(cls) -> "IntentRouter":
        """The router fitted on `agents/*/examples.yaml`; fitted once a process.

        Raises:
            ValueError: an examples file is missing or has another shape.
        """
        return _fitted()

    def decide(self, turn: Turn) -> RouteDecision:
        """The decision for the turn's last message; bounded work whatever its length."""
        text = turn.user_text.strip()
        seen = _excerpt(text)
        fleet = _services(turn.system)
        tongue = phrases.language(seen)
        if _RESTART.match(_plain(seen).strip()):
            return _to(HEALER, text)
        if (noise := self._noise(text, seen, fleet)) is not None:
            if (last := _last_speaker(turn.messages)) and _is_follow_up(seen):
                return _to(last, text)
            return RouteDecision(question=noise)
        parts = split(seen)
        if len(parts) <= 1:
            return self._whole(turn, text, seen, tongue, fleet)
        return self._parts(turn, parts, tongue, fleet)

    def _noise(self, text: str, seen: str, fleet: Fleet) -> str | None:
        """What to ask back when there is nothing to classify, else None."""
        letters = [c for c in seen if c.isalpha()]
        if letters and sum(_latin(c) for c in letters) < len(letters) / 2:
            return phrases.other_script()
        judged = self._classifier.judge(_about(seen, fleet))
        if len(letters) >= 2 and judged.familiarity >= FAMILIAR:
            return None
        if len(text) > MAX_CHARACTERS:
            return phrases.too_long(len(text))
        return phrases.unclear(phrases.language(seen))

    def _whole(
        self, turn: Turn, text: str, seen: str, tongue: phrases.Language, fleet: Fleet
    ) -> RouteDecision:
        last = _last_speaker(turn.messages)
        if _is_follow_up(seen):
            if last is not None:
                return _to(last, text)
            if not _stands_alone(seen):
                return RouteDecision(question=phrases.nothing_before(tongue))
        owner, judged = self._owner(seen, fleet)
        if owner == UNSURE and last is not None and _best(judged) == last:
            return _to(last, text)
        if owner == UNSURE:
            close = [specialist(name) for name, _ in judged.ranked[:2]]
            return RouteDecision(
                question=phrases.which(tongue, [one for one in close if one is not None], seen)
            )
        if owner in NAMES:
            return _to(owner, text)
        return _small_talk(owner, tongue)

    def _parts(
        self, turn: Turn, parts: list[str], tongue: phrases.Language, fleet: Fleet
    ) -> RouteDecision:
        """Several parts: each its own step; what no specialist does is said beside the rest."""
        steps: list[tuple[str, str]] = []
        refused: list[str] = []
        talk: str | None = None
        for part in parts:
            before = steps[-1][0] if steps else _last_speaker(turn.messages)
            owner, judged = self._owner(part, fleet)
            if _is_follow_up(part) and before is not None:
                owner = before
            if owner in NAMES:
                steps.append((owner, part))
            elif owner == OUT_OF_SCOPE:
                refused.append(part)
            elif owner == UNSURE:
                whole, _ = self._owner(" ".join(parts), fleet)
                if whole in NAMES:
                    return _to(whole, turn.user_text.strip())
                close = [specialist(name) for name, _ in judged.ranked[:2]]
                return RouteDecision(
                    question=phrases.which(tongue, [one for one in close if one is not None], part)
                )
            else:
                talk = owner
        if len(steps) > MAX_STEPS:
            return RouteDecision(question=phrases.too_many(tongue, len(steps), MAX_STEPS))
        no = phrases.out_of_scope(tongue, "; ".join(refused)) if refused else None
        if steps:
            found = [_step(owner, part) for owner, part in steps]
            return RouteDecision(steps=found, out_of_scope=no)
        return RouteDecision(out_of_scope=no) if no else _small_talk(talk or "greeting", tongue)

    def _owner(self, text: str, fleet: Fleet) -> tuple[str, Judgement]:
        """Who *text* is for: a specialist, an intent of small talk, or `unsure`."""
        judged = self._classifier.judge(_about(opening(text) or text, fleet))
        best, chance = judged.ranked[0]
        if _RESTART.match(_plain(text).strip()):
            return HEALER, judged
        outside = sum(p for name, p in judged.probabilities.items() if name not in NAMES)
        sure = chance >= CONFIDENT and (best not in NAMES or outside <= OUTSIDE_AT_MOST)
        return (best if sure else UNSURE), judged


@cache
def _fitted() -> IntentRouter:
    examples = read_examples()
    return IntentRouter(Classifier([e.text for e in examples], [e.owner for e in examples]))


def _excerpt(text: str) -> str:
    """All of a text of usual length; of a longer one its start and end, where requests stand."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 500] + "\n" + text[-499:]


def _services(system: str) -> Fleet:
    line = next((x for x in system.splitlines() if x.startswith(SERVICES_LINE)), "")
    names = [name.strip() for name in line.removeprefix(SERVICES_LINE).split(",")]
    known = "|".join(re.escape(name) for name in names if name)
    return re.compile(rf"(?<![\w-])(?:{known})(?:-\d+)?(?![\w-])", re.IGNORECASE) if known else None


def _about(text: str, fleet: Fleet) -> str:
    """The text with every service of the fleet under the one name the examples know."""
    return fleet.sub(STANDARD_SERVICE, text) if fleet is not None else text


def _latin(character: str) -> bool:
    return "LATIN" in unicodedata.name(character, "")


def _is_follow_up(text: str) -> bool:
    bare = " ".join(re.findall(r"[\w'-]+|[?!.,]", " ".join(_plain(text).split())))
    return len(text) <= 80 and bool(_FOLLOW_UP.match(bare) or _SHORT_TAIL.match(bare))


def _plain(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in bare if not unicodedata.combining(c) and c not in "¿¡")


def _stands_alone(text: str) -> bool:
    """Whether a follow-up can be answered from the record: the last action is known to it."""
    return bool({"why", "undo", "revert", "deshaz", "deshazlo", "por"} & set(words(text)[:2]))


def _last_speaker(messages: tuple[Said, ...]) -> str | None:
    """The specialist that spoke last, as the assistant messages' names say."""
    for said in reversed(messages[-LOOK_BACK:]):
        if said.role == "assistant" and said.name in NAMES:
            return said.name
    return None


def _best(judged: Judgement) -> str:
    return judged.ranked[0][0]


def _step(owner: str, task: str) -> Step:
    return Step.model_validate({"specialist": owner, "task": task})


def _to(owner: str, task: str) -> RouteDecision:
    return RouteDecision(steps=[_step(owner, task)])


def _small_talk(intent: str, tongue: phrases.Language) -> RouteDecision:
    if intent == OUT_OF_SCOPE:
        return RouteDecision(out_of_scope=phrases.out_of_scope(tongue))
    words_for = {
        "greeting": phrases.greeting,
        "thanks": phrases.thanks,
        "help": phrases.abilities,
    }
    return RouteDecision(reply=words_for[intent](tongue))

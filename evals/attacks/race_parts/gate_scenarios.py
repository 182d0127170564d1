"""Scenarios of the routes by which people answer the gate, order it, and ask for evidence."""

from evals.attacks.race_parts.place import Place
from evals.attacks.race_parts.requests import Shot
from evals.attacks.race_parts.scenario import RESTART, SUITE, Scenario, body, decision
from tools.autonomy.schemas import ApprovalView


def deciding(prefix: str) -> Scenario:
    """Answering a question, at the API or on the page."""

    def shot(place: Place, question: ApprovalView, fields: dict[str, str]) -> Shot:
        path = f"{prefix}/approvals/{question.id}/decision"
        return Shot("POST", path, place.sessions["ada"], **body(path, fields))

    async def prepare(place: Place) -> Shot:
        question = await place.switches.ask()
        return shot(place, question, decision(question))

    async def other_plan(place: Place) -> tuple[Shot, int]:
        question, seen = await place.switches.ask(), await place.switches.ask()
        return shot(place, question, decision(seen)), 409

    async def closed(place: Place) -> tuple[Shot, int]:
        question = await place.switches.ask()
        await place.switches.answer(question, "deny")
        return shot(place, question, decision(question)), 409

    async def expired(place: Place) -> tuple[Shot, int]:
        question = await place.switches.expired()
        return shot(place, question, decision(question)), 409

    async def undone_before(place: Place) -> tuple[Shot, int]:
        question = await place.switches.undo_asked()
        await place.switches.answer(question, "approve")
        await place.switches.drive()
        return shot(place, question, decision(question)), 409

    async def foreign(place: Place) -> str:
        return (await place.switches.ask("eve")).id

    return Scenario(
        route=f"POST {prefix}/approvals/{{approval_id}}/decision",
        prepare=prepare,
        repeats="once",
        late={
            "another plan's digest": other_plan,
            "a question denied before": closed,
            "an expired question": expired,
            "an undo carried out before": undone_before,
        },
        foreign=foreign,
        rival={"decision": "deny"},
        fleet=True,
    )


def undoing(prefix: str) -> Scenario:
    """Asking for an undo."""

    def shot(place: Place, action: str) -> Shot:
        return Shot("POST", f"{prefix}/actions/{action}/undo", place.sessions["ada"])

    async def prepare(place: Place) -> Shot:
        return shot(place, await place.switches.verified())

    async def not_done(place: Place) -> tuple[Shot, int]:
        return shot(place, (await place.switches.ask()).actions[0].id), 409

    async def undone(place: Place) -> tuple[Shot, int]:
        question = await place.switches.undo_asked()
        await place.switches.answer(question, "approve")
        await place.switches.drive()
        return shot(place, question.actions[0].id), 409

    return Scenario(
        route=f"POST {prefix}/actions/{{action_id}}/undo",
        prepare=prepare,
        repeats="same",
        late={"an action not done": not_done, "an action undone before": undone},
        foreign=lambda place: place.switches.verified("eve"),
        fleet=True,
    )


def releasing(prefix: str) -> Scenario:
    """Closing a stuck action."""

    def shot(place: Place, action: str) -> Shot:
        path = f"{prefix}/actions/{action}/release"
        fields = {"found": "not-done", "note": "The switch is off."}
        return Shot("POST", path, place.sessions["ada"], **body(path, fields))

    async def prepare(place: Place) -> Shot:
        return shot(place, await place.switches.stuck())

    async def not_stuck(place: Place) -> tuple[Shot, int]:
        return shot(place, (await place.switches.ask()).actions[0].id), 409

    return Scenario(
        route=f"POST {prefix}/actions/{{action_id}}/release",
        prepare=prepare,
        repeats="once",
        late={"an action that isn't stuck": not_stuck},
        foreign=lambda place: place.switches.stuck("eve"),
        rival={"found": "done"},
        fleet=True,
    )


def freezing(template: str) -> Scenario:
    """Ordering that an operation always asks."""

    def shot(place: Place) -> Shot:
        path = template.replace("{operation}", RESTART)
        return Shot("POST", path, place.sessions["ada"], **body(path, {"reason": "Exams."}))

    async def prepare(place: Place) -> Shot:
        await place.freeze(RESTART, frozen=False)
        return shot(place)

    async def frozen(place: Place) -> tuple[Shot, int]:
        await place.freeze(RESTART, frozen=True)
        return shot(place), 409

    return Scenario(
        route=f"POST {template}",
        prepare=prepare,
        repeats="once",
        late={"one that is frozen": frozen},
        rival={"reason": "Holidays."},
        unknown=frozenset({409}),
        fleet=True,
    )


def thawing(template: str) -> Scenario:
    """Lifting a freeze."""

    def shot(place: Place) -> Shot:
        return Shot("POST", template.replace("{operation}", RESTART), place.sessions["ada"])

    async def prepare(place: Place) -> Shot:
        await place.freeze(RESTART, frozen=True)
        return shot(place)

    async def thawed(place: Place) -> tuple[Shot, int]:
        await place.freeze(RESTART, frozen=False)
        return shot(place), 404

    return Scenario(
        route=f"POST {template}",
        prepare=prepare,
        repeats="once",
        again=frozenset({404}),
        late={"one that isn't frozen": thawed},
        fleet=True,
    )


def running_a_suite(path: str) -> Scenario:
    """Asking for a run; the worker that is started for it plays nothing, so the run waits."""

    async def waiting(place: Place) -> tuple[Shot, int]:
        await place.no_runs()
        await place.run(SUITE)
        return Shot("POST", path, place.sessions["ada"], **body(path, {"suite": SUITE})), 409

    async def prepare(place: Place) -> Shot:
        await place.no_runs()
        return Shot("POST", path, place.sessions["ada"], **body(path, {"suite": SUITE}))

    return Scenario(
        route=f"POST {path}",
        prepare=prepare,
        repeats="once",
        late={"one that waits": waiting},
        fleet=True,
    )


def stopping_a_run(prefix: str) -> Scenario:
    """Stopping a run."""

    async def prepare(place: Place) -> Shot:
        await place.no_runs()
        return Shot("POST", f"{prefix}/{await place.run(SUITE)}/stop", place.sessions["ada"])

    async def stopped(place: Place) -> tuple[Shot, int]:
        shot = await prepare(place)
        await place.no_runs()
        return shot, 409

    return Scenario(
        route=f"POST {prefix}/{{run_id}}/stop",
        prepare=prepare,
        repeats="once",
        late={"one stopped before": stopped},
        fleet=True,
    )

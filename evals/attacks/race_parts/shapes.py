"""The shapes every good request is bent into, and what must have changed afterwards."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from evals.attacks.race_parts.changes import Changes
from evals.attacks.race_parts.place import Place
from evals.attacks.race_parts.requests import Answer, Shot
from evals.attacks.race_parts.scenario import Scenario
from memory.ids import new_id

AT_ONCE = 50
REFUSED = frozenset({400, 403, 404, 405, 422})
"""How an id that names nothing of the visitor's is refused."""
NEVER_IDS = (
    "x",
    "apr-AAAAAAAAAAAA",
    "a" * 300,
    "../../keys",
    "' OR 1=1 --",
    "%00",
    "\x00",
    "\u202eapr",
    "💥" * 20,
    "-1",
    " ",
)
"""Ids no thing has: too long, with NUL, with quotes, with paths, with letters that turn text."""
BROKEN = (
    (b"", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'{"a": ' * 400 + b"1" + b"}" * 400, "application/json"),
    (b"[" * 90_000, "application/json"),
    (b'{"decision": "approve", "digest": ', "application/json"),
    (b'{"decision": true, "digest": true, "found": 1, "text": 7, "name": []}', "application/json"),
    (b'{"name": "\\u0000\\ud800", "text": "\\u0000", "note": "\\ud800"}', "application/json"),
    (b"\xff\xfe\x00", "application/json"),
    (b"decision=approve&decision=deny&digest=", "application/x-www-form-urlencoded"),
    (b"text=%00&name=%00&email=%00&password=%00&key=%00", "application/x-www-form-urlencoded"),
    (b"text=%ff%fe&name=%ff&email=%ff&password=%ff", "application/x-www-form-urlencoded"),
    (
        b'--x\r\nContent-Disposition: form-data; name="decision"\r\n',
        "multipart/form-data; boundary=x",
    ),
    (b"decision=approve", "text/plain"),
)
"""Bodies no form and no program of ours sends."""


NOT_FOUND = frozenset({404})
FORBIDDEN = frozenset({403})

Refusal = tuple[str, Shot, frozenset[int]]
"""What is wrong with a request, the request, and how it must be refused."""


@dataclass
class Outcome:
    """What one scenario found."""

    route: str
    shots: int = 0
    busy: int = 0
    """Answers that asked to come back later, which is no violation."""
    problems: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    """Shapes that were tried."""


class Trial:
    """Bends the request of one scenario and judges what became of it."""

    def __init__(self, place: Place, scenario: Scenario, *, at_once: int = AT_ONCE) -> None:
        self._place = place
        self._scenario = scenario
        self._at_once = at_once
        self._reference: Changes = {}
        self.outcome = Outcome(scenario.route)

    async def run(self) -> Outcome:
        """Try every shape."""
        before, busy = self._place.sender.sent, self._place.sender.busy
        await self._single()
        for name, shape in (
            ("twice", self._twice),
            ("at once", self._together),
            ("late", self._late),
            ("foreign ids", self._foreign),
            ("unguarded", self._unguarded),
            ("broken bodies", self._broken),
        ):
            self.outcome.shapes.append(name)
            await shape()
        self.outcome.shots = self._place.sender.sent - before
        self.outcome.busy = self._place.sender.busy - busy
        return self.outcome

    def _problem(self, text: str) -> None:
        self.outcome.problems.append(f"{self._scenario.route}: {text}")

    async def _changed(
        self, act: Callable[[], Awaitable[Sequence[Answer]]]
    ) -> tuple[Sequence[Answer], Changes]:
        before = await self._place.before()
        answers = await act()
        for answer in answers:
            if answer.status >= 500 and not answer.busy:
                self._problem(f"answered {answer.status}: {answer.text[:80]}")
        return answers, await self._place.since(before)

    async def _single(self) -> None:
        """What one good request changes: the measure for all that follows."""
        shot = await self._scenario.prepare(self._place)
        answers, self._reference = await self._changed(lambda: self._send([shot]))
        if not answers[0].accepted:
            self._problem(
                f"a good request was answered {answers[0].status}: {answers[0].text[:200]}"
            )
        elif not self._reference:
            self._problem("a good request changed nothing, so nothing could be judged")

    async def _send(self, shots: Sequence[Shot]) -> list[Answer]:
        return [
            await self._place.sender.send(shot, replica=number) for number, shot in enumerate(shots)
        ]

    async def _twice(self) -> None:
        shot = await self._scenario.prepare(self._place)
        answers, changed = await self._changed(lambda: self._send([shot, shot]))
        self._judge_repeated("sent twice", answers, changed)

    async def _together(self) -> None:
        shot = await self._scenario.prepare(self._place)
        shots = [shot] * self._at_once
        answers, changed = await self._changed(lambda: self._place.sender.at_once(shots))
        self._judge_repeated(f"sent {self._at_once} times at once", answers, changed)
        if self._scenario.rival:
            await self._contested()

    async def _contested(self) -> None:
        """Two people answer differently at the same moment: one of them counts."""
        shot = await self._scenario.prepare(self._place)
        fields = {**(shot.json or shot.form or {}), **self._scenario.rival}
        other = replace(
            shot,
            session=self._place.sessions["bert"],
            json=fields if shot.json else None,
            form=fields if shot.form else None,
        )
        shots = [shot, other] * (self._at_once // 2)
        answers, changed = await self._changed(lambda: self._place.sender.at_once(shots))
        won = sum(answer.accepted for answer in answers)
        if won != 1:
            self._problem(f"contested by two people: {won} answers counted, not one")
        over = {t: n for t, n in changed.items() if n > self._reference.get(t, 0)}
        if over:
            self._problem(f"contested by two people: more changed than by one answer: {over}")

    def _judge_repeated(self, how: str, answers: Sequence[Answer], changed: Changes) -> None:
        scenario = self._scenario
        accepted = [answer for answer in answers if answer.accepted]
        refused = {answer.status for answer in answers if not answer.accepted and not answer.busy}
        if strange := refused - scenario.again - {500}:
            self._problem(f"{how}: refused with {sorted(strange)}")
        if scenario.repeats == "same" and refused:
            self._problem(f"{how}: a repetition was refused with {sorted(refused)}")
        if (
            scenario.repeats == "once"
            and len(accepted) != 1
            and not ({answer.status for answer in accepted} <= scenario.again)
        ):
            self._problem(f"{how}: {len(accepted)} requests counted, not one")
        if not accepted:
            self._problem(f"{how}: no request counted")
        times = len(accepted) if scenario.repeats == "each" else 1
        over = {t: n for t, n in changed.items() if n > times * self._reference.get(t, 0)}
        if over:
            self._problem(f"{how}: changed {over}, one request changes {self._reference}")
        entries = self._reference.get("audit_entry", 0)
        if accepted and changed.get("audit_entry", 0) < times * entries:
            self._problem(f"{how}: {times} requests counted and not all are in the audit log")

    async def _late(self) -> None:
        for what, prepare in self._scenario.late.items():
            shot, expected = await prepare(self._place)
            await self._refused([(what, shot, frozenset({expected}))])

    async def _foreign(self) -> None:
        if "{" not in self._scenario.route:
            return
        shot = await self._scenario.prepare(self._place)
        template = self._scenario.route.partition(" ")[2]
        head, _, rest = template.partition("{")
        tail = rest.partition("}")[2]
        ids = [*NEVER_IDS, *(new_id(kind) for kind in ("apr", "act", "key", "thr"))]
        usual = REFUSED | self._scenario.unknown
        expected = usual | (frozenset() if self._scenario.guarded else self._scenario.again)
        tried = [
            (f"with the id {one[:40]!r}", f"{head}{quote(one, safe='')}{tail}", expected)
            for one in ids
        ]
        if self._scenario.foreign is not None:
            theirs = await self._scenario.foreign(self._place)
            tried.append(("with somebody else's id", f"{head}{theirs}{tail}", NOT_FOUND))
        await self._refused([(what, replace(shot, path=path), to) for what, path, to in tried])

    async def _unguarded(self) -> None:
        shot = await self._scenario.prepare(self._place)
        tried: list[Refusal] = [("from another site", shot.from_elsewhere(), FORBIDDEN)]
        session = shot.session
        if self._scenario.guarded and session is not None:
            place, bare = self._place, shot.without_session()
            none = frozenset({401} if shot.api else {303})
            gone = {"cookie": "academy_session=gone", "x-csrf-token": session.csrf}
            elsewhere = {**shot.headers, "host": place.doors.host("eve")}
            key = {"authorization": "Bearer dak_nobody"}
            tried += [
                ("without a session", bare, none),
                ("with an unknown session", replace(bare, headers=gone), none),
                ("at another tenant's host", replace(shot, headers=elsewhere), none),
                ("with an unknown key", replace(bare, headers=key), none),
            ]
            tokens = {
                "without a token": None,
                "with an empty token": "",
                "with another person's token": place.sessions["lea"].csrf,
                "with a shortened token": session.csrf[:-1],
            }
            tried += [(how, shot.with_token(one), FORBIDDEN) for how, one in tokens.items()]
            if self._scenario.fleet:
                learner = replace(shot, session=place.sessions["lea"])
                tried.append(("by a learner", learner, FORBIDDEN))
        await self._refused(tried)

    async def _broken(self) -> None:
        """Nonsense is never answered with 500; what is taken may do what one request does."""
        shot = await self._scenario.prepare(self._place)
        shots = [
            replace(shot, content=content, headers={**shot.headers, "content-type": kind})
            for content, kind in BROKEN
        ]
        answers, changed = await self._changed(lambda: self._send(shots))
        times = sum(answer.accepted for answer in answers)
        over = {
            table: number
            for table, number in changed.items()
            if number > times * self._reference.get(table, 0) and table not in self._scenario.noise
        }
        if over:
            self._problem(f"bodies that make no sense changed {over}")

    async def _refused(self, tried: Sequence[Refusal]) -> None:
        answers, changed = await self._changed(lambda: self._send([shot for _, shot, _ in tried]))
        for (what, _, expected), answer in zip(tried, answers, strict=True):
            if answer.status < 500 and answer.status not in expected:
                self._problem(f"{what}: answered {answer.status}, not {sorted(expected)}")
            elif answer.accepted:
                self._problem(f"{what}: was taken, and leads to {answer.place}")
        meant = {t: n for t, n in changed.items() if t not in self._scenario.noise}
        if meant:
            names = ", ".join(what for what, _, _ in tried)
            self._problem(f"refused requests changed {meant}: {names}")

"""A run told as one answer: its words as they come, and the question where a person must decide.

A chat client can't be shown cards or asked for a decision, so a run that waits ends in words: what
would be done, why, the digest of exactly that, and the page where a person decides.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphs.conversations import LEFT_OUT, Entered
from graphs.threads import EventView
from server.lifespan import Services
from server.openai_errors import Declined
from server.openai_protocol import Usage
from server.problems import STATUS_OF_KIND
from server.streams import RUN_OVER, Batch, follow
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView
from tools.kit.deps import Caller

STATUS_OF_CODE = {
    **{str(kind): status for kind, status in STATUS_OF_KIND.items()},
    "model_unavailable": 503,
    "model_timeout": 504,
}
"""Statuses of a failed run's codes; a model's other failures are 502, and ours 500."""


@dataclass
class Telling:
    """One run's words, put together from its events."""

    run_id: str
    text: str = ""
    """All that was handed on."""
    end: EventView | None = None
    """The event that ended the run."""
    _told: dict[str, str] = field(default_factory=dict)
    _now: dict[str, str] = field(default_factory=dict)

    def take(self, batch: Batch) -> str:
        """The words that *batch* adds.

        A message that begins again (another worker took the turn over) is only told from where it
        goes beyond what was told; what was told can't be taken back.
        """
        before = len(self.text)
        for event in batch:
            if event.run_id != self.run_id:
                continue
            if event.type == "TEXT_MESSAGE_START":
                self._now[str(event.data["messageId"])] = ""
            elif event.type == "TEXT_MESSAGE_CONTENT":
                self._hear(str(event.data["messageId"]), str(event.data["delta"]))
            elif event.type in RUN_OVER:
                self.end = event
        return self.text[before:]

    def _hear(self, message_id: str, delta: str) -> None:
        now = self._now.get(message_id, "") + delta
        self._now[message_id] = now
        told = self._told.get(message_id)
        if told is not None and told.startswith(now):
            return
        if told is not None and now.startswith(told):
            self.text += now[len(told) :]
        else:
            self.text += ("\n\n" if self.text else "") + now
        self._told[message_id] = now

    @property
    def usage(self) -> Usage | None:
        """What the run's models read and wrote; None where none was asked."""
        spent = self.end.data.get("usage") if self.end else None
        return Usage.of(spent) if spent else None

    @property
    def approvals(self) -> Sequence[str]:
        """The questions that the run waits for."""
        outcome: dict[str, Any] = (self.end.data.get("outcome") if self.end else None) or {}
        return list(dict.fromkeys(str(o["approvalId"]) for o in outcome.get("interrupts", ())))


async def answer(
    services: Services, caller: Caller, entered: Entered, telling: Telling, *, origin: str
) -> AsyncGenerator[str | None]:
    """The words of an answer as they come; None where nothing has come for a while.

    *origin* is the address people reach this academy under, as `https://host`.

    Raises:
        Declined: the run failed, or isn't over though this replica must stop following it.
    """
    if entered.left_out:
        yield f"{LEFT_OUT}\n\n"
    async for batch in follow(services, caller, entered.run.thread_id, entered.after):
        words = telling.take(batch or ())
        yield words or None
        if telling.end is not None:
            break
    if telling.end is None:
        raise unfinished()
    if telling.end.type == "RUN_ERROR":
        raise failed(telling.end)
    if telling.approvals:
        asked = await questions(services, caller, telling.approvals, origin)
        yield ("\n\n" if telling.text else "") + asked


def unfinished() -> Declined:
    """The run goes on, and this request doesn't wait for it any longer."""
    return Declined(
        504,
        "The academy is still at work on this. Send the same request again to go on waiting, "
        "or use `stream: true`; nothing will be done twice.",
        code="still_running",
        again=True,
    )


def failed(end: EventView) -> Declined:
    """The run ended without an answer: a status and the reason a person can read."""
    code = str(end.data.get("code", "run_broken"))
    status = STATUS_OF_CODE.get(code, 502 if code.startswith("model_") else 500)
    message = str(end.data.get("message", "The run failed."))
    return Declined(400 if status == 422 else status, message, code=code, again=False)


async def questions(
    services: Services, caller: Caller, approval_ids: Sequence[str], origin: str
) -> str:
    """What a run waits for, in words; the computed change, and nothing a model said."""
    found = []
    for approval_id in approval_ids:
        async with services.databases.control.unit_of_work() as session:
            found.append(await autonomy.get_approval(session, caller, approval_id))
    return "\n\n".join(_question(one, origin) for one in found)


def _question(approval: ApprovalView, origin: str) -> str:
    changes = [
        f"    {line}"
        for action in approval.actions
        for line in (action.plan.summary, *(f"  {change}" for change in action.plan.diff))
    ]
    return "\n".join(
        [
            f"**A person must decide first: {approval.title}**",
            "",
            f"Why it asks: {approval.reason}",
            "",
            "What would be done:",
            "",
            *changes,
            "",
            f"Digest: `{approval.digest}`",
            "",
            f"Decide until {approval.expires_at:%Y-%m-%d %H:%M} UTC: "
            f"{origin}/approvals/{approval.id}",
            "",
            "Nothing has been done. A yes in this chat is not a decision.",
        ]
    )

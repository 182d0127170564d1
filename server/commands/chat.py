"""`academy chat`: talk to the ops agent, in one sentence or in a conversation."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from server.commands.api import Api, Broken, Event
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.exits import Exit, Refusal

app = typer.Typer(add_completion=False, rich_markup_mode=None)

MOST_RESUMES = 20
LONGEST_LINE = 160


@app.command()
def chat(
    text: Annotated[
        str | None, typer.Argument(help="What to say; without it a conversation begins.")
    ] = None,
    home: HomeOption = None,
    thread: Annotated[
        str | None, typer.Option(help="Go on with this conversation (thr-...).")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say something and see the answer as it comes; a question to you is shown with its id.

    With `-` the text is read from standard input. Exit codes: 0 answered or waiting for an
    approval, 3 no academy runs, 4 no such conversation, 7 wrong input, 8 the database is down, 1
    the turn failed.
    """
    api = Api(settings_for(home))
    if text == "-":
        text = sys.stdin.read()
    if text is not None and not text.strip():
        raise Refusal(Exit.INVALID, 'Say something: academy chat "what is wrong?"')
    thread_id = thread or api.post("/api/threads")["id"]
    if text is not None:
        _say(api, thread_id, text, as_json=as_json)
        return
    if as_json:
        raise Refusal(Exit.INVALID, "--json needs a text: a conversation is for people.")
    _converse(api, thread_id)


def _converse(api: Api, thread_id: str) -> None:
    out = console()
    out.print(f"Conversation {thread_id}. Ctrl-D or an empty line ends it.", style="dim")
    while True:
        try:
            said = out.input("[bold]> [/bold]")
        except (EOFError, KeyboardInterrupt):
            out.print()
            return
        if not said.strip():
            return
        try:
            _say(api, thread_id, said, as_json=False)
        except Refusal as refusal:
            if refusal.code is Exit.NOT_RUNNING:
                raise
            out.print(refusal.message, style="red", markup=False, soft_wrap=True)


def _say(api: Api, thread_id: str, text: str, *, as_json: bool) -> None:
    shown = Shown(console(), quiet=as_json)
    try:
        for event in turn(api, thread_id, text):
            shown.take(event.data)
    except KeyboardInterrupt:
        raise Refusal(
            Exit.FAILED, f"No longer following; the answer goes on in {thread_id}."
        ) from None
    shown.end()
    if as_json:
        print_json({"thread": thread_id, **shown.result})
    if shown.error:
        raise Refusal(Exit.FAILED, shown.error)


def turn(api: Api, thread_id: str, text: str) -> Iterator[Event]:
    """The events of the turn that *text* begins, to its end, across broken connections.

    Raises:
        Refusal: the message wasn't taken, or the stream kept breaking.
    """
    events = api.stream("POST", f"/api/threads/{thread_id}/messages", body={"text": text})
    last, run, ended = "", "", False
    for _ in range(MOST_RESUMES):
        try:
            for event in events:
                last = event.id or last
                run = run or str(event.data.get("runId", ""))
                ended = event.data["type"] in ("RUN_FINISHED", "RUN_ERROR")
                yield event
                if ended:
                    return
        except Broken:
            if not last:
                raise Refusal(
                    Exit.UNAVAILABLE,
                    "The connection broke before the answer began; the message may have been"
                    f" taken: academy chat --thread {thread_id}",
                ) from None
        time.sleep(0.5)
        query = f"?run={run}" if run else ""
        events = api.stream("GET", f"/api/threads/{thread_id}/events{query}", after=last or None)
    raise Refusal(Exit.UNAVAILABLE, f"The stream of {thread_id} kept breaking; look again later.")


class Shown:
    """What has been shown of a turn, and what a program gets of it in the end."""

    def __init__(self, out: Console, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._in_text = False
        self._calls: dict[str, dict[str, Any]] = {}
        self._text = ""
        self._approvals: list[str] = []
        self.error = ""

    @property
    def result(self) -> dict[str, Any]:
        """Text, tool calls, open questions and error of the turn."""
        return {
            "text": self._text,
            "calls": list(self._calls.values()),
            "approvals": self._approvals,
            "error": self.error,
        }

    def take(self, event: dict[str, Any]) -> None:
        """Show one AG-UI event; kinds that say nothing to a person pass by."""
        kind = event["type"]
        if kind == "TEXT_MESSAGE_CONTENT":
            self._text += event["delta"]
            self._write(event["delta"])
        elif kind == "TEXT_MESSAGE_END":
            self._text += "\n"
            self.end()
        elif kind == "TOOL_CALL_START":
            name = event["toolCallName"]
            self._calls[event["toolCallId"]] = {"name": name, "arguments": "", "result": None}
            self._line(f"  {event.get('title') or name}")
        elif kind == "TOOL_CALL_ARGS":
            self._calls[event["toolCallId"]]["arguments"] += event["delta"]
        elif kind == "TOOL_CALL_RESULT":
            call = self._calls.setdefault(event["toolCallId"], {"name": "", "arguments": ""})
            call["result"], call["ok"] = event["content"], event.get("ok", True)
            mark = "" if call["ok"] else "failed: "
            self._line(f"    {mark}{_first_line(event['content'])}")
        elif kind == "RUN_FINISHED":
            self._finish(event.get("outcome") or {})
        elif kind == "RUN_ERROR":
            self.error = event["message"]

    def end(self) -> None:
        """End the line that text was written on."""
        if self._in_text:
            self._in_text = False
            if not self._quiet:
                self._out.print()

    def _finish(self, outcome: dict[str, Any]) -> None:
        for interrupt in outcome.get("interrupts", []):
            approval = interrupt["approvalId"]
            self._approvals.append(approval)
            self._line(f"  waits for you: academy approvals approve {approval}", style="yellow")

    def _write(self, delta: str) -> None:
        self._in_text = True
        if not self._quiet:
            self._out.print(delta, end="", markup=False, soft_wrap=True)

    def _line(self, text: str, *, style: str = "dim") -> None:
        self.end()
        if not self._quiet:
            self._out.print(text, style=style, markup=False, soft_wrap=True)


def _first_line(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"

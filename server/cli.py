"""The command `academy`: one module of `server/commands` per group, loaded when it is named.

Other packages contribute commands through the entry-point group `academy.commands`: the name of
the entry point is the command, its value a function as typer takes it, or a `typer.Typer` of many.
"""

import importlib
import json
import sys
from importlib.metadata import entry_points
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from typer.core import TyperGroup

from server.exits import Exit, Refusal

COMMANDS: dict[str, str] = {
    "up": "Run the academy in the foreground until Ctrl-C",
    "down": "Stop the academy from elsewhere",
    "signin": "Print a new one-time sign-in link",
    "status": "Show processes, fleet and model mode",
    "chat": "Talk to the ops agent",
    "approvals": "List, show, approve and deny what waits for a person",
    "incidents": "List and show incidents",
    "autonomy": "What may run alone, and what is approved in advance",
    "audit": "List the audit log, and verify that nobody changed it",
    "db": "Show and upgrade the databases' schemas",
    "archive": "Bring archived data back",
}
"""Every built-in command and its line of help; its module is `server.commands.<name>`."""

CONTRIBUTED = "academy.commands"


class LazyCommands(TyperGroup):
    """Commands that are imported when they are run, so that `academy status` stays quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, built-in ones first."""
        return [*COMMANDS, *sorted(point.name for point in entry_points(group=CONTRIBUTED))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command called *cmd_name*, or None."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"server.commands.{cmd_name}")
            command = typer.main.get_command(module.app)
            command.short_help = COMMANDS[cmd_name]
        else:
            found = {point.name: point for point in entry_points(group=CONTRIBUTED)}
            if cmd_name not in found:
                return None
            contributed = found[cmd_name].load()
            if not isinstance(contributed, typer.Typer):
                single = typer.Typer(add_completion=False, rich_markup_mode=None)
                single.command()(contributed)
                contributed = single
            command = typer.main.get_command(contributed)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyCommands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="An online-learning academy that runs itself as far as evidence allows.",
)


@app.callback()
def academy() -> None:
    """An online-learning academy that runs itself as far as evidence allows."""


def main() -> None:
    """Run the command line; a refusal becomes one message and its exit code."""
    try:
        app()
    except Refusal as refusal:
        _fail(refusal.code, refusal.message)
    except ValidationError as error:
        _fail(Exit.SETTING_INVALID, _settings_sentence(error))
    except OSError as error:
        about = f" ({error.filename})" if error.filename else ""
        _fail(Exit.FAILED, f"{error.strerror or error}{about}.")


def _fail(code: Exit, message: str) -> None:
    if "--json" in sys.argv:
        sys.stderr.write(json.dumps({"error": message, "code": int(code)}) + "\n")
    else:
        Console(stderr=True, highlight=False).print(
            f"academy: {message}", style="red", markup=False, soft_wrap=True
        )
    sys.exit(code)


def _settings_sentence(error: ValidationError) -> str:
    """Which setting is wrong, and what pydantic says of it."""
    first = error.errors(include_url=False)[0]
    name = "ACADEMY_" + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name} is {first['input']!r}: {first['msg'].lower()}."


if __name__ == "__main__":
    main()

"""Options and output that the commands share."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from graphs.settings import Settings, read_settings
from tools.kit.plain import visible

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The academy's folder (default: ACADEMY_HOME, else the user's)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_for(home: Path | None, **given: Any) -> Settings:
    """Settings from the environment, with what was *given* on the command line above them.

    Raises:
        pydantic.ValidationError: a value is out of range.
    """
    chosen = {key: value for key, value in {"home": home, **given}.items() if value is not None}
    return Settings(**chosen) if chosen else read_settings()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")


class PlainConsole(Console):
    """A console to which text can't send commands: what would move its cursor is shown."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As `Console.print`; bare strings lose what a terminal would act on."""
        super().print(*(visible(o) if isinstance(o, str) else o for o in objects), **options)


def console() -> Console:
    """Where a person reads; colours on a terminal only, and wide lines where there is none."""
    found = PlainConsole(highlight=False)
    if not found.is_terminal:
        found.width = 200
    return found

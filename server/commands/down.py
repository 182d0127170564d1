"""`academy down`: stop the academy from elsewhere, or what a dead launcher left."""

import shutil
import signal
import time

import typer

from graphs.settings import Home
from server.commands.options import HomeOption, JsonOption, console, print_json, settings_for
from server.exits import Exit, Refusal
from server.processes.belonging import end, leftovers
from server.processes.hold import holder

app = typer.Typer(add_completion=False, rich_markup_mode=None)

STOP_SECONDS = 75.0
"""A launcher stops its programs within their own limits, which add up to about a minute."""


@app.command()
def down(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Stop the academy of this home, completely; also after its launcher was killed.

    Exit codes: 0 nothing runs any more (also when nothing ran), 1 something could not be ended.
    """
    place = settings_for(home).paths
    begun = time.monotonic()
    launcher = holder(place)
    if launcher is not None:
        launcher.send(signal.SIGTERM)
        launcher.wait(STOP_SECONDS)
    ended = _end_leftovers(place)
    seconds = round(time.monotonic() - begun, 1)
    if as_json:
        print_json({"was_running": launcher is not None, "ended": ended, "seconds": seconds})
    elif launcher is not None:
        console().print(f"The academy of {place.path} is stopped ({seconds} s).", soft_wrap=True)
    elif ended:
        console().print(
            f"No launcher ran on {place.path}; ended {ended} processes that one had left.",
            soft_wrap=True,
        )
    else:
        console().print(f"No academy runs on {place.path}.", soft_wrap=True)


def _end_leftovers(place: Home) -> int:
    record = place.run / "processes.json"
    found = leftovers(place.path, record)
    launcher = holder(place)
    if launcher is not None:
        found.append(launcher)
    end(found, grace=15)
    left = leftovers(place.path, record)
    if left:
        raise Refusal(
            Exit.FAILED,
            "Could not end "
            + ", ".join(f"process {process.pid}" for process in left)
            + "; are they another user's?",
        )
    shutil.rmtree(place.sockets, ignore_errors=True)
    return len(found)

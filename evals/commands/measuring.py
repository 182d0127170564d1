"""What `bench` and `attack` share: run one or all, print what was found, and the exit code."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from evals.measured import Ended, Kind, UnknownMeasurement, WrongOption, measure, names
from evals.telling import log_to_stderr

HELD, MISSED, USAGE, INCOMPLETE, UNKNOWN, STOPPED = 0, 1, 2, 3, 4, 130
ALL = "all"


def run(kind: Kind, words: Sequence[str], *, as_json: bool) -> int:
    """Run what *words* name, or everything; the exit code.

    0 every bar holds; 1 one doesn't, or a measurement broke; 2 wrong usage; 3 something was not
    run, and what was run holds; 4 no such name; 130 stopped.
    """
    log_to_stderr()
    chosen, options = parted(kind, words)
    everything = not chosen or chosen == [ALL]
    began = time.monotonic()
    ended: list[Ended] = []
    stopped = False
    try:
        for name in names(kind) if everything else chosen:
            if not as_json or everything or len(chosen) > 1:
                sys.stderr.write(f"{name} ...\n")
            ended.append(measure(kind, name, options, strict=not everything))
            if not as_json:
                sys.stdout.write(terminal(ended[-1]))
                sys.stdout.flush()
    except (UnknownMeasurement, WrongOption) as error:
        sys.stderr.write(f"evals: {error}\n")
        return UNKNOWN if isinstance(error, UnknownMeasurement) else USAGE
    except KeyboardInterrupt:
        stopped = True
        sys.stderr.write("Stopped; what was measured until now:\n")
    if everything and stopped:
        done = {one.name for one in ended}
        ended += [Ended(n, not_run="stopped before") for n in names(kind) if n not in done]
    summary = summed_up(ended, seconds=time.monotonic() - began)
    if as_json and len(ended) == 1 and not everything:
        only = ended[0]
        whole: Any = only.result or summary
        sys.stdout.write(json.dumps(whole, indent=2, default=str) + "\n")
    elif as_json:
        sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")
    else:
        sys.stdout.write(summary_text(ended))
    if stopped:
        return STOPPED
    if any(one.broke or (one.result is not None and not one.holds) for one in ended):
        return MISSED
    return INCOMPLETE if any(one.not_run for one in ended) else HELD


def parted(kind: Kind, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and options: a name comes before every option, or is known and no option's value."""
    known = {ALL, *names(kind)}
    chosen: list[str] = []
    options: list[str] = []
    before = ""
    for word in words:
        is_value = before.startswith("--") and "=" not in before
        is_known = word.replace("_", "-") in known and not is_value
        is_name = is_known or not (options or word.startswith("-"))
        (chosen if is_name else options).append(word)
        before = word
    return chosen, options


def summed_up(ended: Sequence[Ended], *, seconds: float) -> dict[str, Any]:
    """Everything that ran, what did not with the reason, and whether every bar holds."""
    return {
        "ran": [one.result for one in ended if one.result is not None],
        "not_run": [{"name": one.name, "reason": one.not_run} for one in ended if one.not_run],
        "broke": [{"name": one.name, "reason": one.broke} for one in ended if one.broke],
        "holds": bool(ended) and all(one.holds for one in ended),
        "seconds": round(seconds, 1),
    }


def terminal(one: Ended) -> str:
    """One measurement for a terminal: what it says of itself, and its bars."""
    if one.result is None:
        said = f"NOT RUN: {one.not_run}" if one.not_run else f"BROKE: {one.broke}"
        return f"{one.name}: {said}\n\n"
    lines = [one.name, one.text]
    for bar in one.result.get("bars") or [{"what": "names no bar", "holds": False}]:
        mark = "holds " if bar["holds"] else "MISSED"
        figure = f": {bar['value']} (wanted {bar['target']})" if "value" in bar else ""
        lines.append(f"  {mark} {bar['what']}{figure}")
    lines.append(f"  {one.result['seconds']} s, {one.result.get('versions', {})}")
    return "\n".join(lines) + "\n\n"


def summary_text(ended: Sequence[Ended]) -> str:
    """One line each, the shortfalls first read at the end."""
    lines = []
    for one in ended:
        bars = (one.result or {}).get("bars") or []
        held = sum(bar["holds"] for bar in bars)
        if one.not_run:
            state = f"not run: {one.not_run}"
        elif one.broke:
            state = f"BROKE: {one.broke}"
        else:
            state = f"{held} of {len(bars)} bars hold"
        lines.append(f"  {one.name:22} {state}")
    held_all = sum(one.holds for one in ended)
    lines.append(f"{held_all} of {len(ended)} hold every bar.")
    return "\n".join(lines) + "\n"

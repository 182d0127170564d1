"""The command line, started once and asked many times: each request is a line of JSON words.

    python -m evals.attacks.phishing_parts.terminal

Answers each line `["approvals", "show", "apr-..."]` with a line of JSON: all that was printed. It
is the same program as `python -m server.cli`, run again and again without loading it anew.
"""

import contextlib
import io
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from evals.worlds import children


class Terminal:
    """A running command line; one request at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, words: Sequence[str]) -> str:
        """What the command *words* prints, errors included.

        Raises:
            EOFError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(words)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("The command line has ended.")
        printed: str = json.loads(line)
        return printed


@contextmanager
def open_terminal(environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A command line in *environment*; it ends with the block."""
    process = subprocess.Popen(
        children.python("-m", __name__),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        process_group=0,
    )
    try:
        yield Terminal(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(15)


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        sys.argv = ["academy", *json.loads(line)]
        printed = io.StringIO()
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            contextlib.suppress(SystemExit),
        ):
            runpy.run_module("server.cli", run_name="__main__")
        sys.stdout.write(json.dumps(printed.getvalue()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

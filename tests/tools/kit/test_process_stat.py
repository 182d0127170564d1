"""A process told by the kernel, whatever it calls itself."""

import os
import subprocess
import sys

from tools.kit.process_stat import read_stat

ODD_NAME = (
    "import pathlib, sys; pathlib.Path('/proc/self/comm').write_bytes(b') \\xff Z (');"
    "print(flush=True); sys.stdin.read()"
)


def test_a_process_with_any_bytes_for_a_name_is_told_until_nobody_waits_for_it() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ODD_NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        own, found = read_stat(os.getpid()), read_stat(child.pid)
        assert own is not None
        assert found is not None
        assert (found.parent, found.ended) == (os.getpid(), False)
        assert found.started >= own.started
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        left = read_stat(child.pid)
        assert left is not None
        assert (left.started, left.ended) == (found.started, True)
    finally:
        child.kill()
        child.communicate()
    assert read_stat(child.pid) is None

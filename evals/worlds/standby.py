"""A real supervisord whose programs are there to be started and do nothing.

Behind doors it answers what an academy's would: a program was started, runs already, is unknown.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from evals.worlds import children
from graphs.settings import Home
from tools.adapters.supervisor import Supervisor
from tools.kit.errors import Unavailable

START_SECONDS = 60.0
EVALUATIONS = "evals"
"""The evaluation worker's name at the supervisor."""


@asynccontextmanager
async def standby(
    home: Home, environment: Mapping[str, str], programs: Sequence[str] = (EVALUATIONS,)
) -> AsyncIterator[None]:
    """A supervisord at *home* that knows *programs*, until the end of the block.

    Raises:
        Unavailable: it ended or does not answer within `START_SECONDS`.
    """
    settings = home.run / "supervisord.conf"
    await asyncio.to_thread(_write, home, programs)
    with (home.logs / "supervisord.out").open("ab") as output:
        words = ("-m", "supervisor.supervisord", "-n", "-c", str(settings))
        process = children.start(words, env=environment, output=output)
    try:
        await _answers(Supervisor(home.supervisor_socket), process)
        yield
    finally:
        await asyncio.to_thread(children.stop, process)
        await asyncio.to_thread(shutil.rmtree, home.sockets, ignore_errors=True)


def _write(home: Home, programs: Sequence[str]) -> None:
    home.sockets.mkdir(parents=True, exist_ok=True)
    home.sockets.chmod(0o700)
    own = "user = root\n" if os.geteuid() == 0 else ""
    waits = shlex.join(children.guarded("/bin/sleep", "infinity"))
    (home.run / "supervisord.conf").write_text(
        f"[unix_http_server]\nfile = {home.supervisor_socket}\nchmod = 0700\n"
        f"[supervisord]\nnodaemon = true\nsilent = true\n{own}"
        f"pidfile = {home.run / 'supervisord.pid'}\nlogfile = {home.logs / 'supervisord.log'}\n"
        f"childlogdir = {home.logs}\ndirectory = {home.path}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n"
        + "".join(
            f"[program:{name}]\ncommand = {waits}\nautostart = false\nautorestart = unexpected\n"
            "startsecs = 0\n"
            for name in programs
        ),
        encoding="utf-8",
    )


async def _answers(supervisor: Supervisor, process: subprocess.Popen[bytes]) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.poll() is None:
                with contextlib.suppress(Unavailable):
                    await asyncio.to_thread(supervisor.processes)
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    raise Unavailable("The stand-by supervisor did not start.")

"""Servers that run until Ctrl-C, each in a process group and with a log of its own.

Flow: dashboard → **serving** → servers, a browser.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil

from mlpexp.refusals import redact

PATIENCE = 20.0
"""Seconds that servers have to end once they are asked to."""

LINES, TAIL_BYTES = 5, 8192
"""Of a server that gave up: the last lines it said, looked for in so many bytes."""


@dataclass(frozen=True)
class Server:
    """What is started, where it opens, and what is told of it."""

    name: str
    words: list[str]
    address: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """A server that was started, as the leader of a process group, and the file with what it says."""

    server: Server
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def begin(cls, server: Server, environment: Mapping[str, str]) -> Self:
        """Start it; its log is a temporary file: outputs may be read-only, or not be there."""
        handle, log = tempfile.mkstemp(prefix=f"mlpexp-{server.name}-{os.getpid()}-", suffix=".log")
        with open(handle, "wb") as said:
            process = subprocess.Popen(server.words, env=environment, start_new_session=True, stdout=said, stderr=said)
        return cls(server, process, Path(log))

    def ending(self) -> list[str]:
        """How it ended by itself, and the last that it said."""
        with self.log.open("rb") as said:
            said.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            last = said.read().decode(errors="replace").splitlines()[-LINES:]
        code = self.process.returncode
        return [f"mlpexp: {self.server.name} has ended by itself, with code {code}:", *last, f"more in {self.log}"]


def until_ctrl_c(servers: Sequence[Server], environment: Mapping[str, str]) -> int:
    """Run servers: 0, or 1 where one gave up, and then all are ended; its log is left to be read.

    Addresses are told, and opened, once they answer: a browser that came earlier would show an error, and stay with it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a script starts beside others ignores it
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(0))
    started: list[Running] = []
    ended: list[Running] = []
    try:
        for one in servers:
            started.append(Running.begin(one, environment))
        while not (ended := _ended(started)) and not all(_answers(one.address) for one in servers):
            time.sleep(0.1)
        if not ended:
            _tell(servers)
        while not (ended := _ended(started)):
            time.sleep(0.2)
        print("\n".join(redact(line) for one in ended for line in one.ending()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        end([running.process for running in started])
        for running in started:
            if running not in ended:
                running.log.unlink(missing_ok=True)


def end(leaders: Sequence[subprocess.Popen[bytes]]) -> None:
    """End process groups as a whole, what a leader that has ended left behind, too; kill what outlasts our patience.

    A second Ctrl-C ends the patience.
    """
    with suppress(KeyboardInterrupt, SystemExit):
        _signal(leaders, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while any(map(_lives, leaders)) and time.monotonic() < deadline:
            time.sleep(0.05)
    _signal(leaders, signal.SIGKILL)
    for leader in leaders:
        leader.wait()


def _signal(leaders: Sequence[subprocess.Popen[bytes]], which: signal.Signals) -> None:
    for leader in filter(_lives, leaders):
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, which)


def _lives(leader: subprocess.Popen[bytes]) -> bool:
    """Whether anything of a group runs; what has ended and waits to be buried, perhaps by nobody, does not."""
    return leader.poll() is None or any(_runs_in(leader.pid, process) for process in psutil.pids())


def _runs_in(group: int, process: int) -> bool:
    try:
        return os.getpgid(process) == group and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _ended(started: Sequence[Running]) -> list[Running]:
    return [one for one in started if one.process.poll() is not None]


def _tell(servers: Sequence[Server]) -> None:
    """Print the addresses, and open them where there is a screen."""
    told = [line for one in servers for line in (f"{one.name}: {one.address}", *one.more)]
    print("\n".join([*told, "Ctrl-C ends it"]), flush=True)
    if os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32"):
        for one in servers:
            webbrowser.open(one.address)


def _answers(address: str) -> bool:
    """Whether a server listens at an address of ours."""
    place = urlsplit(address)
    with closing(HTTPConnection(str(place.hostname), place.port, timeout=5)) as connection:
        try:
            connection.request("GET", place.path or "/")
            return connection.getresponse().status < 500
        except (OSError, HTTPException):
            return False

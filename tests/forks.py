"""Commands as processes of their own that load nothing again: forks of one process that has loaded torch and MLflow.

A fork sees its own words, folder, environment and files in place of pipes, runs `python -m mlpexp` from its first
line, and ends as any process does; to load what most commands need takes longer than what they do in a test.

Also that process: `python forks.py` reads a line for each command, and answers with a process id and an exit code.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

LOADED = (
    *("mlpexp.hydra_app", "mlpexp.lanes", "mlpexp.illustration", "mlpexp.tracking", "mlpexp.sweep"),
    *("mlpexp.search.command", "mlpexp.study_command", "mlpexp.browse.tables"),
    *("mlflow.store.tracking.sqlalchemy_store", "alembic.command", "matplotlib.backends.backend_agg"),
)
"""With all that they load: what several commands load in the middle of their work."""

AT_START = ("PYTHON", "LANG", "LC_")
"""How variables begin that an interpreter reads before its first line: for them it must be a new one."""


class Source:
    """The process that is forked; it ends with the process that asks."""

    def __init__(self) -> None:
        words = [sys.executable, __file__]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=20)

    def ask(self, request: dict[str, Any], timeout: float) -> int:
        """The exit code of a command; raises TimeoutExpired, and leaves no process, where it takes too long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        pid, late = int(self.process.stdout.readline()), threading.Event()

        def end() -> None:
            late.set()
            os.kill(pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end)
        timer.start()
        code = int(self.process.stdout.readline())
        timer.cancel()
        if late.is_set():
            raise subprocess.TimeoutExpired(request["words"], timeout)
        return code


@cache
def source() -> Source:
    """One for each test process, from the first command on."""
    return Source()


def forked(
    words: list[str], cwd: Path, environment: dict[str, str], timeout: float, script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m mlpexp WORDS`, or `python SCRIPT WORDS`, as subprocess.run would answer it."""
    with TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}" for name in ("stdout", "stderr")}
        request = {
            "words": words,
            "cwd": str(cwd),
            "environment": environment,
            "script": script and str(script),
            **files,
        }
        code = source().ask(request, timeout)
        said = {name: Path(file).read_text(encoding="utf-8") for name, file in files.items()}
    return subprocess.CompletedProcess(words, code, **said)


# --- the process that is forked ---


def serve(answers: TextIO) -> dict[str, Any] | None:
    """Fork for each line that is asked; returns the request in a fork, and None in the end."""
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            answers.close()
            request: dict[str, Any] = json.loads(line)
            return request
        print(child, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """The command that is asked for."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, file in enumerate((os.devnull, request["stdout"], request["stderr"])):
        place = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(place, number)
        os.close(place)
    if os.isatty(1):  # the streams of this process were made for other files, which could be sought in
        sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    script = request["script"]
    sys.argv = [script or "mlpexp", *request["words"]]
    sys.path[0] = os.path.dirname(script) if script else request["cwd"]  # as an interpreter has it
    if script:
        runpy.run_path(script, run_name="__main__")
    else:
        runpy.run_module("mlpexp", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as channel:
        for name in LOADED:
            import_module(name)
        gc.freeze()  # what is shared stays shared
        asked = serve(channel)
    if asked is not None:
        become(asked)

"""The check of a file of the user's own, in a process of its own: nothing here loads torch in the calling process.

Flow: **own_checks** → own_activations, own_measurements. `python -m MODULE FILE [WORD …] < text` prints what is wrong
with a text, as a list in JSON.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache

from mlpexp.numerics import ENVIRONMENT

CHECK_SECONDS = 120


@lru_cache
def checked(module: str, file: str, source: str, words: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a module's check finds, in a process that is started as those that train."""
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(place or os.getcwd() for place in sys.path)}
    command = [sys.executable, "-P", "-m", module, file, *words]
    try:
        done = subprocess.run(
            command, input=source.encode(), env=environment, capture_output=True, timeout=CHECK_SECONDS
        )
    except subprocess.TimeoutExpired:
        return (f"its check has not ended after {CHECK_SECONDS} seconds",)
    try:
        return tuple(json.loads(done.stdout.decode().splitlines()[-1]))
    except (ValueError, IndexError):
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"])[-1]
        return (f"its check ended with code {done.returncode}: {last}",)


def answer(check: Callable[[str, str, Sequence[str]], Sequence[str]]) -> None:
    """The other side: run a check of (file, text, words) and print what it finds."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(json.dumps(check(sys.argv[1], sys.stdin.buffer.read().decode(), sys.argv[2:])))


def told(error: BaseException, file: str) -> str:
    """An error, and the line of the file that it comes from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"

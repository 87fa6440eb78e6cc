"""What a cohort in training tells, and is told, through small files in its folder that anyone may read or write.

Flow: execution ⇄ **signals** ⇄ runner, search. Nothing here waits: a reader sees what is there.
"""

import json
import math
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from mlpexp.journal import write_atomically
from mlpexp.records import Array


class Progress:
    """How many run-steps a cohort has done: eight bytes in its folder, that anyone may read."""

    EVERY_SECONDS = 0.1

    def __init__(self, folder: Path) -> None:
        self.file, self.done, self.told_at = folder / "progress", 0, -math.inf

    def add(self, run_steps: int) -> None:
        """Count more; a reader sees the old or the new number."""
        self.done += run_steps
        now = time.monotonic()
        if now - self.told_at >= self.EVERY_SECONDS:
            self.told_at = now
            with open(self.file, "wb") as stream:
                stream.write(struct.pack("<q", self.done))

    @staticmethod
    def read(folder: Path) -> int:
        """Run-steps done so far; 0 before the cohort has begun."""
        try:
            content = (folder / "progress").read_bytes()
        except OSError:
            return 0
        return int(struct.unpack("<q", content)[0]) if len(content) == 8 else 0


EVALUATIONS, LEAVING = "evaluations.jsonl", "leaving.json"


def tell_evaluation(folder: Path, epoch: int, lanes: list[int], values: Array) -> None:
    """Append what the lanes [R] scored at the pause before `epoch`; a number that is not finite is null."""
    told = {lane: value if math.isfinite(value) else None for lane, value in zip(lanes, values.tolist(), strict=True)}
    with open(folder / EVALUATIONS, "a") as stream:
        stream.write(json.dumps({"epoch": epoch, "lanes": told}) + "\n")


def evaluations(folder: Path, offset: int = 0) -> tuple[list[tuple[int, dict[int, float | None]]], int]:
    """(epoch, lane → value) of every whole line from a place in the file on, and the place behind them."""
    try:
        with open(folder / EVALUATIONS, "rb") as stream:
            stream.seek(offset)
            content = stream.read()
    except OSError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    lines = [json.loads(line) for line in whole.splitlines()]
    found = [(int(line["epoch"]), {int(lane): value for lane, value in line["lanes"].items()}) for line in lines]
    return found, offset + len(whole)


def ask_to_leave(folder: Path, lanes: Iterable[int]) -> None:
    """Ask these lanes of a cohort, and all that were asked before, to leave at their next pause."""
    if folder.is_dir():  # it has begun, and has not ended
        everyone = sorted({*lanes, *asked_to_leave(folder)})
        try:
            write_atomically(folder / LEAVING, json.dumps(everyone).encode())
        except FileNotFoundError:
            return  # it has ended meanwhile


def asked_to_leave(folder: Path) -> set[int]:
    """The lanes that are asked to leave."""
    try:
        return set(json.loads((folder / LEAVING).read_text()))
    except OSError:
        return set()

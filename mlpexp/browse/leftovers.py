"""`mlpexp clean`: what dead processes left behind, found by rule, shown, and removed when that is agreed to.

Flow: outputs folder → **leftovers** → a list → its removal. A record (config, result, numbers, weights) is never in it.
"""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlpexp.display import counted
from mlpexp.journal import CHECKPOINT
from mlpexp.leases import has_expired

HALF_WRITTEN = re.compile(r"\..+\.(?P<process>\d+)(\.old|\.unpacked)?")
"""What a writer calls a file or folder until it is whole: `.NAME.PROCESS`."""
WRITTEN_IN = ("runs", "interrupted", "leases", "stems", "sweeps", "studies", "figures", "lineage", "cohorts", "hydra")
QUIET_SECONDS = 3600.0
"""Nothing younger is taken for half-written: its writer may be on another machine, with a number of its own."""
TOLD = 3


@dataclass(frozen=True)
class Leftover:
    """A file or folder to remove; `rule` says why."""

    path: Path
    rule: str
    size: int


def command(options: argparse.Namespace) -> int:
    """Show what would go, ask, remove. 0 also where nothing is left over; 1 where the answer was no."""
    outputs = Path(options.outputs).expanduser().absolute()
    found = list(leftovers(outputs, options.checkpoints))
    if not found:
        print(f"nothing is left over in {outputs}")
        return 0
    print("\n".join(summary(found, outputs)))
    if not options.yes:
        print("remove this? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was removed; --yes removes without asking")
            return 1
    remove(found, outputs)
    print(f"removed {counted(len(found), 'leftover')}, {_bytes(sum(one.size for one in found))}")
    return 0


def leftovers(outputs: Path, checkpoints: bool = False) -> Iterator[Leftover]:
    """Dead leases, half-written files and folders, empty folders of sweeps; checkpoints of finished runs if asked."""
    for file in _entries(outputs / "leases"):
        if not file.name.startswith(".") and has_expired(file):
            yield Leftover(file, "leases of dead processes", file.stat().st_size)
    for place in WRITTEN_IN:
        yield from _half_written(outputs / place)
    for folder in _entries(outputs / "hydra"):
        yield from _empty(folder)
    if checkpoints:
        for run in _entries(outputs / "runs"):
            file = run / CHECKPOINT
            if not run.name.startswith(".") and (run / "result.json").exists() and file.exists():
                yield Leftover(file, "checkpoints of finished runs (longer runs begin anew)", file.stat().st_size)


def _half_written(folder: Path) -> Iterator[Leftover]:
    """Names of a dead process at any depth, not touched for an hour."""
    for path in _entries(folder):
        named = HALF_WRITTEN.fullmatch(path.name)
        if named is None:
            if path.is_dir() and not path.is_symlink():
                yield from _half_written(path)
        elif not psutil.pid_exists(int(named["process"])) and time.time() - path.lstat().st_mtime > QUIET_SECONDS:
            yield Leftover(path, "half-written files of dead processes", _size(path))


def _empty(folder: Path) -> Iterator[Leftover]:
    """The outermost folders below which there is no file, not touched for an hour: a sweep may be about to begin."""
    if not folder.is_dir() or folder.is_symlink():
        return
    if not any(names for _, _, names in os.walk(folder)):
        if time.time() - folder.stat().st_mtime > QUIET_SECONDS:
            yield Leftover(folder, "empty folders of sweeps", 0)
        return
    for inner in _entries(folder):
        yield from _empty(inner)


def summary(found: Sequence[Leftover], outputs: Path) -> list[str]:
    """A line for each rule, with its number, size and the first few names."""
    lines = []
    for rule in dict.fromkeys(one.rule for one in found):
        own = [one for one in found if one.rule == rule]
        lines.append(f"{rule}: {len(own)}, {_bytes(sum(one.size for one in own))}")
        lines += [f"  {one.path.relative_to(outputs)}" for one in own[:TOLD]]
        lines += [f"  … and {len(own) - TOLD} more"] if len(own) > TOLD else []
    return lines


def remove(found: Sequence[Leftover], outputs: Path) -> None:
    """Remove them; what lies outside the outputs folder is never touched, nor what has come to life since."""
    for one in found:
        assert outputs in one.path.parents
        if one.path.parent == outputs / "leases" and not one.path.name.startswith(".") and not has_expired(one.path):
            continue
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path, ignore_errors=True)
        else:
            one.path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names)


def _bytes(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} GB"

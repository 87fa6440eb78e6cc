"""The journal that a cohort writes while it trains: append-only, in pieces, each with a checksum.

Flow: training → **journal** → run folder. `outputs/cohorts/<id>/` holds one segment every few megabytes, its
checksum in its name, so the memory of a long run does not grow with its steps; and one checkpoint, which replaces the
last. Files appear whole or not at all: they are written beside their place, brought to disk, and renamed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from mlpexp.records import Array, Piece

SEGMENT_BYTES = 8 << 20
CHECKPOINT = "checkpoint.safetensors"


class JournalError(RuntimeError):
    """A journal or run folder that cannot be read; names the file."""


class Journal:
    """Append-only record of a cohort in training, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.pending, self.pending_bytes, self.segments = folder, list[Piece](), 0, 0

    def append(self, piece: Piece) -> None:
        """Take a piece; it reaches the disk with its segment."""
        self.pending.append(piece)
        self.pending_bytes += piece.size
        if self.pending_bytes >= SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as a segment."""
        if not self.pending:
            return
        arrays: dict[str, Any] = {}
        for i, piece in enumerate(self.pending):
            own = {"lanes": np.array(piece.lanes), "steps": piece.steps, "losses": piece.losses}
            named = {
                f"{field}.{name}": array
                for field in ("measured", "measured_at", "evaluation")
                for name, array in getattr(piece, field).items()
            }
            arrays |= {f"{i}.{name}": np.ascontiguousarray(array) for name, array in (own | named).items()}
        content = save(arrays)
        name = f"segment-{self.segments:06d}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        write_atomically(self.folder / name, content)
        self.pending, self.pending_bytes, self.segments = [], 0, self.segments + 1

    def pieces(self) -> Iterator[Piece]:
        """All pieces in their order, one segment in memory at a time."""
        for file in sorted(self.folder.glob("segment-*.safetensors")):
            yield from read_segment(file)
        yield from self.pending

    def checkpoint(self, states: Mapping[int, Mapping[str, Array]], step: int) -> None:
        """Bring all rows before `step` and the state of the lanes to the disk; it replaces the last checkpoint."""
        self.flush()
        arrays = {f"{lane}.{name}": array for lane, state in states.items() for name, array in state.items()}
        write_atomically(self.folder / CHECKPOINT, save(arrays, metadata={"step": str(step)}))

    def discard(self) -> None:
        """Remove the folder; the run folders hold everything."""
        shutil.rmtree(self.folder)


def read_segment(file: Path) -> list[Piece]:
    """The pieces of one segment; raises JournalError where its checksum does not fit."""
    if hashlib.sha256(file.read_bytes()).hexdigest()[:16] != file.stem.rpartition("-")[2]:
        raise JournalError(f"{file} is damaged: its content does not fit the checksum in its name")
    arrays = load_file(file)
    pieces: dict[int, dict[str, Any]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        pieces.setdefault(int(number), {})[name] = array
    return [_piece(pieces[number]) for number in sorted(pieces)]


def _piece(arrays: Mapping[str, Any]) -> Piece:
    def below(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    return Piece(
        lanes=arrays["lanes"].tolist(),
        steps=arrays["steps"],
        losses=arrays["losses"],
        measured=below("measured."),
        measured_at=below("measured_at."),
        evaluation=below("evaluation."),
    )


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Readable JSON; refuses NaN."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_atomically(file: Path, content: bytes, durably: bool = True) -> None:
    """The file appears with all its content or not at all; `durably`, a power cut afterwards does not undo it."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as stream:
            stream.write(content)
            if durably:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(beside, file)
        if durably:
            bring_to_disk(file.parent)
    except OSError:  # a full disk: what half of it there is must not fill it further
        beside.unlink(missing_ok=True)
        raise


def bring_to_disk(path: Path) -> None:
    """A file's content, or which names a folder has, survive a power cut from here on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

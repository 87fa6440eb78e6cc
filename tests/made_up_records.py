"""Pieces, endings and headers of records that nobody trained: every number tells where it comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpexp.records import Ending, Piece

EVALUATIONS = ("loss/train", "loss/validation")


def piece(steps: range, lanes: Sequence[int], layers: int = 2, every: int = 1, seed: int = 0) -> Piece:
    """A made-up piece: every number tells where it comes from."""
    draw = np.random.default_rng([seed, steps.start])
    shape, due = (len(steps), len(lanes)), np.array([step for step in steps if step % every == 0], dtype=np.int64)
    names = ("delta_norm", "gradient_norm")
    return Piece(
        lanes=list(lanes),
        steps=np.arange(steps.start, steps.stop),
        losses=draw.normal(size=shape).astype(np.float32),
        measured={name: draw.normal(size=(len(due), len(lanes), layers)) for name in names},
        measured_at=dict.fromkeys(names, due),
        evaluation={name: draw.normal(size=len(lanes)) for name in EVALUATIONS} if steps.start % 2 == 0 else {},
    )


def ending(lane: int, last_step: int, status: str = "finished", width: int = 2) -> Ending:
    row = np.arange(2 * width + width, dtype=np.float32) + lane
    return Ending(lane, status, last_step, 0, final=row, best=-row, scores={"loss/test": 0.5, "loss/train": np.inf})


def header(lane: int) -> dict[str, Any]:
    return {
        "fingerprint": f"run{lane}",
        "config": {"model": {"depth": 1}},
        "result": {"measurements": {"quantities": ["delta_norm", "gradient_norm"]}, "widths": [2, 2]},
        "pace": {"examples": 4, "batch_size": 2, "sampler": "epoch", "flops": 16},
        "normalisation": {"centre": np.zeros(2), "scale": np.ones(2)},
        "environment": {"commit": None},
        "evaluations": EVALUATIONS,
        "base": None,
    }


def same(one: Piece, other: Piece) -> bool:
    arrays = [(getattr(one, name), getattr(other, name)) for name in ("steps", "losses")]
    arrays += [(one.measured[name], other.measured[name]) for name in one.measured]
    arrays += [(one.measured_at[name], other.measured_at[name]) for name in one.measured_at]
    arrays += [(one.evaluation[name], other.evaluation[name]) for name in one.evaluation]
    keys = [(p.lanes, list(p.measured), sorted(p.evaluation)) for p in (one, other)]
    equal = all(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) for a, b in arrays)
    return equal and sorted(keys[0][1]) == sorted(keys[1][1]) and keys[0][::2] == keys[1][::2]

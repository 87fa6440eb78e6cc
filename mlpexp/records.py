"""What training writes down, and the only place that spells a metric's name.

Flow: training → **records** → journal → (tracking, figures). NumPy only.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SIGNAL, FACTOR, THEORY_FACTOR = (
    "signal/layer_1_over_last_log10",
    "signal/factor_per_layer",
    "signal/factor_per_layer_theory",
)
"""What the numbers of a gradient verdict are called in MLflow and in a sweep's table."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Piece:
    """Consecutive steps of some lanes of a cohort. Row t of the arrays is the state after `steps[t]` updates.

    `lanes` [R] numbers of the lanes in their cohort; `steps` [T]; `losses` [T, R] mean batch loss without penalty;
    `measured` quantity → [t, R, …], with a row for each of its steps `measured_at` [t]; `evaluation` metric → [R], made
    at `steps[0]`.
    """

    lanes: list[int]
    steps: NDArray[np.int64]
    losses: Array
    measured: dict[str, Array]
    measured_at: dict[str, NDArray[np.int64]]
    evaluation: dict[str, Array]

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return self.losses.nbytes + sum(a.nbytes for a in self.measured.values())


@dataclass(frozen=True)
class Ending:
    """How one lane ended. `last_step` is that of its last row; `final` and `best` are rows [P + S] of a network."""

    lane: int
    status: str
    last_step: int
    best_step: int
    final: Array
    best: Array
    scores: dict[str, float]


def metric(name: str, part: str) -> str:
    """`loss/train`, `accuracy/validation`, `loss/batch`."""
    return f"{name}/{part}"


def layer_metric(quantity: str, layer: int, depth: int) -> str:
    """`delta_norm/layer_01`; layer 1 is next to the input, and numbers sort as text."""
    return f"{quantity}/{layer_name(layer, depth)}"


def layer_name(layer: int, depth: int) -> str:
    """`layer_01`, with as many digits as the last layer has."""
    return f"layer_{layer:0{max(2, len(str(depth)))}d}"


@lru_cache(maxsize=4096)  # every record asks the same of its columns
def layer_of(name: str) -> tuple[str, int] | None:
    """The inverse of `layer_metric`: (quantity, layer), or None for another metric."""
    match = re.fullmatch(r"(\w+)/layer_(\d{2,})", name)
    return (match[1], int(match[2])) if match else None


def profile_metric(quantity: str, moment: str) -> str:
    """`profile/delta_norm_start`: one key over depth, with step = layer."""
    return f"profile/{quantity}_{moment}"


def gaps(scores: dict[str, float]) -> dict[str, float]:
    """`gap/loss`, `gap/accuracy`: train − test, so a positive accuracy gap and a negative loss gap are overfitting."""
    found = {}
    for name in ("loss", "accuracy"):
        ends = [scores.get(metric(name, part)) for part in ("train", "test")]
        if ends[0] is not None and ends[1] is not None:
            found[metric("gap", name)] = ends[0] - ends[1]
    return found


def log_spaced(count: int, most: int) -> list[int]:
    """At most `most` positions of `count`: the first, the last, and between them evenly spread on a log axis."""
    if count <= most:
        return list(range(count))
    return sorted({int(i) for i in np.expm1(np.linspace(0, math.log(count), most)).round()} - {count} | {count - 1})


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` positions of `count`, the first and the last among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()}) if count else []


def signal_ratio(delta_norms: Iterable[float]) -> float:
    """δ of layer 1 over δ of layer L: what share of the output's signal arrives at the first layer."""
    norms = [float(norm) for norm in delta_norms]
    return norms[0] / norms[-1] if norms[-1] > 0 else math.nan

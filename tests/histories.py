"""What training leaves behind, lane by lane, to be compared to the bit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch

from mlpexp.activation_schema import ACTIVATION_NAMES as ACTIVATION_NAMES
from mlpexp.composition import compose
from mlpexp.config import Config
from mlpexp.kernel.streams import epoch_batches
from mlpexp.lane_state import Lanes, Plan
from mlpexp.lanes import build
from mlpexp.records import Ending, Piece
from mlpexp.training import train


@dataclass
class History:
    """All that one lane left behind; rows after its last step are dropped, as the journal drops them."""

    ending: Ending
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    measured_at: dict[str, list[int]] = field(default_factory=dict)
    measured: dict[str, list[np.ndarray]] = field(default_factory=dict)
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)

    def column(self, quantity: str) -> np.ndarray:
        """[t, L], only the measured steps."""
        return np.array(self.measured[quantity])

    def flat(self) -> dict[str, bytes]:
        """Every number as bytes, any NaN equal to any other."""
        found = {
            "status": self.ending.status.encode(),
            "steps": repr((self.steps, self.measured_at, self.ending.last_step, self.ending.best_step)).encode(),
            "losses": canonical(np.array(self.losses)),
            "final": canonical(self.ending.final),
            "best": canonical(self.ending.best),
        }
        found |= {f"measured/{name}": canonical(np.array(rows)) for name, rows in self.measured.items()}
        found |= {f"scores/{name}": canonical(np.array(value)) for name, value in self.ending.scores.items()}
        for step, values in self.evaluations.items():
            found |= {f"{step}/{name}": canonical(np.array(value)) for name, value in values.items()}
        return found


def canonical(values: np.ndarray) -> bytes:
    """Bytes in which NaN equals NaN; −0 and 0 still differ."""
    return np.where(np.isnan(values), np.nan, values).astype(values.dtype).tobytes()


def differences(one: History, other: History) -> list[str]:
    """Names of what is not the same, bit for bit."""
    a, b = one.flat(), other.flat()
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


@contextmanager
def flushed() -> Iterator[None]:
    """Denormals are flushed inside, as in a training process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def events_of(plan: Plan, lanes: Lanes) -> list[Piece | Ending]:
    """All that training yields, but for the pauses."""
    with flushed():
        return [event for event in train(plan, lanes) if isinstance(event, Piece | Ending)]


def of(plan: Plan, lanes: Lanes) -> dict[int, History]:
    """Train, and sort what comes out by lane number."""
    return sort_by_lane(events_of(plan, lanes))


def sort_by_lane(events: Sequence[Piece | Ending]) -> dict[int, History]:
    """The histories of all lanes that ended."""
    found = {event.lane: History(event) for event in events if isinstance(event, Ending)}
    for piece in events:
        if isinstance(piece, Piece):
            for column, lane in enumerate(piece.lanes):
                _append(found[lane], piece, column)
    return found


def _append(history: History, piece: Piece, column: int) -> None:
    if piece.steps[0] <= history.ending.last_step and piece.evaluation:
        history.evaluations[int(piece.steps[0])] = {n: v[column] for n, v in piece.evaluation.items()}
    for row, step in enumerate(piece.steps):
        if step > history.ending.last_step:
            break
        history.steps.append(int(step))
        history.losses.append(piece.losses[row, column])
    for name, values in piece.measured.items():
        for step, value in zip(piece.measured_at[name], values[:, column], strict=True):
            if step <= history.ending.last_step:
                history.measured_at.setdefault(name, []).append(int(step))
                history.measured.setdefault(name, []).append(value)


def trained(configs: Sequence[Config]) -> list[History]:
    """The histories of a cohort, in the order of its configs."""
    found = of(*build(configs))
    assert sorted(found) == list(range(len(configs)))
    return [found[lane] for lane in range(len(configs))]


@cache
def composed(*overrides: str) -> Config:
    """A config as the command line would make it, tracked nowhere."""
    return compose(["tracking=none", *overrides])


def batches_of(plan: Plan, lanes: Lanes, epoch: int, lane: int = 0) -> list[np.ndarray]:
    """The row numbers that a lane sees in an epoch."""
    return list(epoch_batches(plan.sampler, lanes.batch_seeds[lane], epoch, len(lanes.parts["train"]), plan.batch_size))

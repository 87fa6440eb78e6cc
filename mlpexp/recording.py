"""What is measured in one piece of training, gathered on the device and read once.

Flow: training → **recording** → records.
"""

from functools import cached_property

import numpy as np
import torch

from mlpexp.kernel.measurements import DOUBLE, QUANTITIES, Probe, Step, measure
from mlpexp.lane_state import Lanes, Plan, probe_of
from mlpexp.records import Array, Piece


class Recorder:
    """Buffers for the steps of one piece: losses [T, R], and of each quantity a row for every step it is due at.

    `due` has an entry a step: the quantities that are measured there. With `all_due` each is, whatever its schedule.
    """

    def __init__(self, plan: Plan, lanes: Lanes, first_step: int, steps: int, all_due: bool = False) -> None:
        self.plan, self.lanes, self.first_step = plan, lanes, first_step
        self.losses = lanes.network.parameters.new_empty(steps, len(lanes.numbers))
        due_at = {name: range(steps) if all_due else due for name, due in plan.due(first_step, steps).items()}
        self.due: list[list[str]] = [[] for _ in range(steps)]
        self.rows: dict[str, dict[int, int]] = {}
        for name in (name for name, due in due_at.items() if due and name in QUANTITIES):
            self.rows[name] = {i: row for row, i in enumerate(due_at[name])}
            for i in due_at[name]:
                self.due[i].append(name)
        self.buffers: dict[str, torch.Tensor] = {}

    @cached_property
    def probe(self) -> Probe:
        """The examples that some quantities look at."""
        return probe_of(self.plan, self.lanes)

    def measure(self, i: int, step: Step) -> None:
        """Measure what is due at the piece's step i."""
        for name, values in measure(self.due[i], step).items():
            if name not in self.buffers:
                dtype = torch.float64 if name in DOUBLE else self.losses.dtype
                self.buffers[name] = values.new_empty(len(self.rows[name]), *values.shape, dtype=dtype)
            self.buffers[name][self.rows[name][i]] = values

    def piece(self, evaluation: dict[str, torch.Tensor]) -> Piece:
        """The filled buffers as arrays."""
        arrays: dict[str, Array] = {name: buffer.numpy(force=True) for name, buffer in self.buffers.items()}
        return Piece(
            lanes=self.lanes.numbers,
            steps=np.arange(self.first_step, self.first_step + len(self.losses)),
            losses=self.losses.numpy(force=True),
            measured=arrays,
            measured_at={name: self.first_step + np.array(list(self.rows[name]), dtype=np.int64) for name in arrays},
            evaluation={name: value.numpy(force=True) for name, value in evaluation.items()},
        )

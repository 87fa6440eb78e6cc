"""What is measured in one piece of training, gathered on the device and read once.

Flow: training → **recording** → records.
"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.measurements import DOUBLE, QUANTITIES, Probe, Step, measure
from mlpexp.lane_state import Lanes, Plan, probe_of
from mlpexp.records import Piece


class Recorder:
    """Losses [T, R] of the steps of one piece, and what is measured meanwhile.

    `due` has an entry a step: the quantities that are measured there. With `all_due` each is, whatever its schedule.
    """

    def __init__(self, plan: Plan, lanes: Lanes, first_step: int, steps: int, all_due: bool = False) -> None:
        self.plan, self.lanes, self.first_step = plan, lanes, first_step
        self.losses = lanes.network.parameters.new_empty(steps, len(lanes.numbers))
        self.due: list[list[str]] = [[] for _ in range(steps)]
        for name, due in plan.due(first_step, steps).items():
            for i in range(steps) if all_due else due:
                if name in QUANTITIES or name in plan.own:
                    self.due[i].append(name)
        self.values: dict[str, list[Tensor]] = {}

    @cached_property
    def probe(self) -> Probe:
        """The examples that some quantities look at."""
        return probe_of(self.plan, self.lanes)

    def measure(self, i: int, step: Step) -> None:
        """Measure what is due at the piece's step i."""
        for name, values in measure(self.due[i], step, self.plan.own).items():
            self.values.setdefault(name, []).append(values)

    def piece(self, evaluation: dict[str, Tensor]) -> Piece:
        """All of it as arrays."""
        steps = np.arange(self.first_step, self.first_step + len(self.losses))
        double = {*DOUBLE, *self.plan.own}
        dtypes = {name: torch.float64 if name in double else self.losses.dtype for name in self.values}
        return Piece(
            lanes=self.lanes.numbers,
            steps=steps,
            losses=self.losses.numpy(force=True),
            measured={
                name: torch.stack(values).to(dtypes[name]).numpy(force=True) for name, values in self.values.items()
            },
            measured_at={name: steps[[name in due for due in self.due]] for name in self.values},
            evaluation={name: value.numpy(force=True) for name, value in evaluation.items()},
        )

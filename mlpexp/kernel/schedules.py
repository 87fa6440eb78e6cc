"""The learning rate over time, as a factor on γ: a pure function of the step, so that resuming needs no state."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """`constant`; `step`: times `factor` after every `every` updates; `cosine`: down to 0 over the whole training.

    With `warm_up` the factor rises over so many updates from 1/warm_up to 1, and the rest follows after them.
    """

    name: str = "constant"
    warm_up: int = 0
    every: int = 1
    factor: float = 1.0

    @property
    def is_constant(self) -> bool:
        """Whether the factor is 1 in every update."""
        return self.name == "constant" and not self.warm_up

    def at(self, step: int, updates: int) -> float:
        """The factor on γ in update `step` (from 0) of `updates`; cosine as Loshchilov & Hutter 2017, one period."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        step, updates = step - self.warm_up, updates - self.warm_up
        if self.name == "step":
            return float(self.factor ** (step // self.every))
        if self.name == "cosine":
            return (1 + math.cos(math.pi * step / updates)) / 2
        return 1.0

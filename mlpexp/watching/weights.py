"""What is measured of weights, before an update and of it.

Flow: optimizer.step → **weights** → watch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.linalg import vector_norm

from mlpexp.kernel.arithmetic import singular_values
from mlpexp.watching.gathering import Found
from mlpexp.watching.layers import Layer


class Weights:
    """The weights of layers; `initial` are copies for `weight_distance`, `before` those of the last update's start."""

    def __init__(self, layers: Sequence[Layer], names: Sequence[str], optimized: set[int]) -> None:
        self.own = {layer.number: layer.weight for layer in layers if layer.weight is not None}
        self.moved = {number for number, weight in self.own.items() if id(weight) in optimized}
        copied = self.own if "weight_distance" in names else {}
        self.initial = {number: weight.detach().clone() for number, weight in copied.items()}
        self.before: dict[int, Tensor] = {}

    @torch.no_grad()
    def measured(self, wanted: frozenset[str]) -> Found:
        """Of the weights as they are; where the update will be measured they are kept beside."""
        found: Found = {}
        for number, weight in self.own.items():
            if wanted & {"weight_norm", "update_ratio"}:
                found["weight_norm", number] = vector_norm(weight, dtype=torch.float64)
            if "weight_max" in wanted:
                found["weight_max", number] = weight.abs().amax()
            if "weight_distance" in wanted:
                found["weight_distance", number] = vector_norm(weight - self.initial[number], dtype=torch.float64)
            if "weight_spectral_norm" in wanted:  # of a convolution: of its kernel as a matrix [outputs, all else]
                matrix = weight.detach().flatten(1).to(torch.float64)
                found["weight_spectral_norm", number] = singular_values(matrix[None]).amax()
        if "update_ratio" in wanted:
            for number in self.moved:
                if self.own[number].grad is not None:
                    kept = self.before.get(number)
                    self.before[number] = (
                        self.own[number].detach().clone() if kept is None else kept.copy_(self.own[number])
                    )
        return found

    @torch.no_grad()
    def updates(self) -> Found:
        """‖ΔW_l‖ of the update that was just made."""
        found: Found = {}
        for number, before in self.before.items():
            if self.own[number].grad is not None:
                found["update", number] = vector_norm(before.sub_(self.own[number]), dtype=torch.float64)
        return found

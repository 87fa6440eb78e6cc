"""Rprop: each parameter has a step size of its own, which the sign of its gradient alone makes larger or smaller.

Made for gradients of all examples: with mini-batches the signs change by chance, and the steps shrink.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlpexp.kernel.optimizers import Rule


@dataclass
class Rprop(Rule):
    """Δ grows by η⁺ where g keeps its sign and shrinks by η⁻ where it changes; ΔΘ = −sign(g) Δ.

    `backtracking`: where the sign has changed the last update is taken back (Rprop⁺, Riedmiller & Braun 1993); else
    that parameter rests for one step (iRprop⁻, Igel & Hüsken 2000, as torch.optim.Rprop). `learning_rate` is the
    first Δ.
    """

    eta_minus: Tensor
    eta_plus: Tensor
    step_min: Tensor
    step_max: Tensor
    backtracking: bool = False
    steps: Tensor | None = None
    signs: Tensor | None = None
    last: Tensor | None = None

    def start(self, parameters: Tensor) -> None:
        """Δ at its first value, no gradient seen."""
        self.steps = torch.zeros_like(parameters) + self.learning_rate.to(parameters)
        self.signs, self.last = torch.zeros_like(parameters), torch.zeros_like(parameters)

    def step(self, gradient: Tensor, rate: Tensor, out: Tensor) -> Tensor:
        """−sign(g) Δ; signs are compared, not multiplied gradients, whose product may underflow."""
        assert self.steps is not None
        assert self.signs is not None
        assert self.last is not None
        dtype = gradient.dtype
        signs = torch.sign(gradient)
        agreement = signs * self.signs
        grown = torch.where(agreement > 0, self.steps * self.eta_plus.to(dtype), self.steps)
        changed = torch.where(agreement < 0, self.steps * self.eta_minus.to(dtype), grown)
        low, high = self.step_min.to(dtype), self.step_max.to(dtype)
        self.steps = torch.where(changed > high, high, torch.where(changed < low, low, changed))
        self.signs = torch.where(agreement < 0, 0.0, signs)
        update = -self.signs * self.steps
        if self.backtracking:
            update = torch.where(agreement < 0, -self.last, update)
        self.last = update
        return out.copy_(update)

"""Losses of each example, and δ at the output: the derivative of that example's own loss by its z, not divided by B."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mlpexp.kernel.activations.sigmoid import value as sigmoid


@dataclass(frozen=True)
class Output:
    """The output function f. `value(z)` is f(z); `pull(g, f)` turns ∂ℓ/∂f into ∂ℓ/∂z.

    `turn(g, f, df)` is how `pull(g, f)` changes where f changes by df and g does not.
    """

    value: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    turn: Callable[[Tensor, Tensor, Tensor], Tensor]


def softmax(z: Tensor) -> Tensor:
    """Probabilities over the last dimension; the largest z is taken off first, so nothing overflows."""
    raised = torch.exp(z - z.amax(dim=2, keepdim=True))
    return raised / raised.sum(dim=2, keepdim=True)


OUTPUTS = {
    "identity": Output(lambda z: z, lambda g, f: g, lambda g, f, df: torch.zeros_like(df)),
    "sigmoid": Output(sigmoid, lambda g, f: g * f * (1 - f), lambda g, f, df: g * (1 - 2 * f) * df),
    "softmax": Output(
        softmax,
        lambda g, f: f * (g - (g * f).sum(dim=2, keepdim=True)),
        lambda g, f, df: df * (g - (g * f).sum(dim=2, keepdim=True)) - f * (g * df).sum(dim=2, keepdim=True),
    ),
}


def cross_entropy(z: Tensor, targets: Tensor, output: str) -> tuple[Tensor, Tensor]:
    """−Σ y ln f, from z; with sigmoid outputs the binary form, summed over outputs. δ = f − y in both."""
    if output == "softmax":
        shifted = z - z.amax(dim=2, keepdim=True)
        raised = torch.exp(shifted)
        total = raised.sum(dim=2, keepdim=True)
        losses = (targets * (torch.log(total) - shifted)).sum(dim=2)
        return losses, raised / total - targets
    losses = torch.clamp(z, min=0) - z * targets + torch.log1p(torch.exp(-z.abs()))
    return losses.sum(dim=2), sigmoid(z) - targets


def mse(z: Tensor, targets: Tensor, output: str) -> tuple[Tensor, Tensor]:
    """‖y − f‖², the lecture's: summed over outputs (torch's default divides by their number too)."""
    f = OUTPUTS[output].value(z)
    return torch.square(f - targets).sum(dim=2), OUTPUTS[output].pull(2 * (f - targets), f)


def mae(z: Tensor, targets: Tensor, output: str) -> tuple[Tensor, Tensor]:
    """‖y − f‖₁, summed over outputs; its derivative at zero is 0."""
    f = OUTPUTS[output].value(z)
    return (f - targets).abs().sum(dim=2), OUTPUTS[output].pull(torch.sign(f - targets), f)


LOSSES = {"cross_entropy": cross_entropy, "mse": mse, "mae": mae}
"""(z [R, B, k], targets [R, B, k], output's name) → losses of examples [R, B], δ [R, B, k]."""


def cross_entropy_curvature(z: Tensor, targets: Tensor, output: str, change: Tensor) -> Tensor:
    """How δ = f − y changes: as f does."""
    return OUTPUTS[output].pull(change, OUTPUTS[output].value(z))


def mse_curvature(z: Tensor, targets: Tensor, output: str, change: Tensor) -> Tensor:
    """How δ changes with f and with 2(f − y)."""
    f = OUTPUTS[output].value(z)
    df = OUTPUTS[output].pull(change, f)  # the Jacobians of all our outputs are symmetric
    return OUTPUTS[output].pull(2 * df, f) + OUTPUTS[output].turn(2 * (f - targets), f, df)


def mae_curvature(z: Tensor, targets: Tensor, output: str, change: Tensor) -> Tensor:
    """How δ changes with f; the sign stays, but where f meets the target."""
    f = OUTPUTS[output].value(z)
    return OUTPUTS[output].turn(torch.sign(f - targets), f, OUTPUTS[output].pull(change, f))


CURVATURES = {"cross_entropy": cross_entropy_curvature, "mse": mse_curvature, "mae": mae_curvature}
"""(z, targets, output's name, change of z), each [R, B, k] → change of δ [R, B, k], to first order."""


def correct(z: Tensor, labels: Tensor, output: str) -> Tensor:
    """Which examples are classified right, [R, B]: by the largest z (the first of equals), or a single f above 1/2."""
    chosen = (z[:, :, 0] > (0.5 if output == "identity" else 0.0)).long() if z.shape[2] == 1 else z.argmax(dim=2)
    return chosen == labels

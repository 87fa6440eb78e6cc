"""sigmoid: 1/(1 + exp(−z))."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def value(z: Tensor, out: Tensor | None = None) -> Tensor:
    """1/(1 + exp(−z)); no overflow harms it: 1/inf is 0."""
    out = torch.neg(z, out=out)
    return torch.reciprocal(out.exp_().add_(constant(1, z)), out=out)


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """x(1 − x); for large z the difference keeps the precision of x alone, and ends at 0."""
    torch.sub(constant(1, z), x, out=out)
    return out.mul_(x)


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """x(1 − x)(1 − 2x)."""
    return derivative(z, x, out).mul_(1 - 2 * x)

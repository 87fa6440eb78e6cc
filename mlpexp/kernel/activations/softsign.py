"""softsign: z/(1 + |z|) (Bergstra et al. 2009)."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant

FAR = 1e30
"""Here softsign is ±1 in both precisions: clamped, so that infinity has its limit and is no inf/inf."""


def value(z: Tensor, out: Tensor) -> Tensor:
    """z/(1 + |z|)."""
    torch.clamp(z, -FAR, FAR, out=out)
    return out.div_(torch.abs(out).add_(constant(1, z)))


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """1/(1 + |z|)², squared last: the square of a large |z| would overflow."""
    torch.abs(z, out=out).add_(constant(1, z))
    return torch.reciprocal(out, out=out).square_()


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """−2 sign(z)/(1 + |z|)³, cubed last; at zero its two limits are ±2, and it is 0."""
    torch.abs(z, out=out).add_(constant(1, z))
    torch.reciprocal(out, out=out)
    return out.mul_(torch.square(out)).mul_(torch.sign(z)).mul_(-2)

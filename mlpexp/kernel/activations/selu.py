"""selu: an elu whose scale and alpha make mean 0, variance 1 a fixed point (Klambauer et al. 2017, equation 2)."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant

ALPHA = 1.6732632423543772848170429916717
SCALE = 1.0507009873554804934193349852946
"""The fixed point's, for normal weights of mean 0 and variance 1/k (their equation 14)."""


def value(z: Tensor, out: Tensor) -> Tensor:
    """SCALE·(max(z, 0) + ALPHA·expm1(min(z, 0))), one of which is 0."""
    torch.clamp(z, max=0, out=out).expm1_().mul_(constant(ALPHA, z))
    return out.add_(torch.clamp(z, min=0)).mul_(constant(SCALE, z))


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """SCALE above zero, SCALE·ALPHA·exp(z) below and at zero."""
    step = torch.clamp(z, min=0).sign_()
    torch.clamp(z, max=0, out=out).exp_().mul_(constant(ALPHA, z))
    return out.mul_(constant(1, z) - step).add_(step).mul_(constant(SCALE, z))


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """0 above zero, SCALE·ALPHA·exp(z) below and at zero."""
    step = torch.clamp(z, min=0).sign_()
    torch.clamp(z, max=0, out=out).exp_().mul_(constant(SCALE * ALPHA, z))
    return out.mul_(constant(1, z) - step)

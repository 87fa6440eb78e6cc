"""selu: an elu whose scale and alpha make mean 0, variance 1 a fixed point (Klambauer et al. 2017, equation 2)."""

import torch
from torch import Tensor

ALPHA = 1.6732632423543772848170429916717
SCALE = 1.0507009873554804934193349852946
"""The fixed point's, for normal weights of mean 0 and variance 1/k (their equation 14)."""


def value(z: Tensor, out: Tensor) -> Tensor:
    """SCALE·z above zero, SCALE·ALPHA·expm1(z) below."""
    torch.expm1(z, out=out).mul_(ALPHA)
    return torch.where(z > 0, z, out, out=out).mul_(SCALE)


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """SCALE above zero, SCALE·ALPHA·exp(z) below and at zero."""
    return torch.exp(z, out=out).mul_(SCALE * ALPHA).masked_fill_(z > 0, SCALE)

"""elu: z above zero, alpha·(exp(z) − 1) below (Clevert, Unterthiner & Hochreiter 2016)."""

import torch
from torch import Tensor


def value(z: Tensor, out: Tensor, alpha: float = 1.0) -> Tensor:
    """By expm1, which keeps its relative precision near zero; what overflows above zero is not chosen."""
    torch.expm1(z, out=out).mul_(alpha)
    return torch.where(z > 0, z, out, out=out)


def derivative(z: Tensor, x: Tensor, out: Tensor, alpha: float = 1.0) -> Tensor:
    """1 above zero, alpha·exp(z) below and at zero; from z, since x + alpha cancels for z ≪ 0."""
    return torch.exp(z, out=out).mul_(alpha).masked_fill_(z > 0, 1.0)

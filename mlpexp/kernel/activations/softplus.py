"""softplus: log(1 + exp(z)) (Dugas et al. 2001), with β = 1."""

import torch
from torch import Tensor


def value(z: Tensor, out: Tensor) -> Tensor:
    """max(z, 0) + log1p(exp(−|z|)): nothing overflows, and it is exact everywhere (torch's is linear above 20)."""
    torch.abs(z, out=out).neg_().exp_().log1p_()
    return out.add_(torch.clamp(z, min=0))


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """sigmoid(z) = 1 − exp(−x), as −expm1(−x): it keeps the relative precision of x for z ≪ 0."""
    return torch.neg(x, out=out).expm1_().neg_()


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """s(1 − s) with s = sigmoid(z), and 1 − s = exp(−x)."""
    return derivative(z, x, out).mul_(torch.exp(-x))

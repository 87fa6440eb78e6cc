"""elu: z above zero, alpha·(exp(z) − 1) below (Clevert, Unterthiner & Hochreiter 2016)."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def value(z: Tensor, out: Tensor, alpha: float = 1.0) -> Tensor:
    """alpha·expm1(min(z, 0)) + max(z, 0), one of which is 0; expm1 keeps its relative precision near zero."""
    torch.clamp(z, max=0, out=out).expm1_().mul_(constant(alpha, z))
    return out.add_(torch.clamp(z, min=0))


def derivative(z: Tensor, x: Tensor, out: Tensor, alpha: float = 1.0) -> Tensor:
    """1 above zero, alpha·exp(z) below and at zero; from z, since x + alpha cancels for z ≪ 0."""
    step = torch.clamp(z, min=0).sign_()
    torch.clamp(z, max=0, out=out).exp_().mul_(constant(alpha, z))
    return out.mul_(constant(1, z) - step).add_(step)


def second_derivative(z: Tensor, x: Tensor, out: Tensor, alpha: float = 1.0) -> Tensor:
    """0 above zero, alpha·exp(z) below and at zero."""
    step = torch.clamp(z, min=0).sign_()
    torch.clamp(z, max=0, out=out).exp_().mul_(constant(alpha, z))
    return out.mul_(constant(1, z) - step)

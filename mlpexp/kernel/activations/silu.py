"""silu: z·sigmoid(z) (Hendrycks & Gimpel 2016; Elfwing, Uchibe & Doya 2018), also known as swish with β = 1."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def _sigmoid(z: Tensor, out: Tensor) -> Tensor:
    return torch.reciprocal(torch.neg(z, out=out).exp_().add_(constant(1, z)), out=out)


def _far(z: Tensor) -> float:
    """Where exp has overflowed for sure, and 1/(1 + exp) is 0 and 1."""
    return 100.0 if z.dtype == torch.float32 else 800.0


def value(z: Tensor, out: Tensor) -> Tensor:
    """z/(1 + exp(−z)), with z clamped below, so that −infinity gives 0; less than 1e-36 (float64: 1e-304) is 0."""
    torch.clamp(z, min=-_far(z), out=out)
    return out.div_(torch.neg(out).exp_().add_(constant(1, z)))


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """s·(1 + z(1 − s)) with s = sigmoid(z); for z ≫ 0, 1 − s is a rounding, and σ′ right to 9·2⁻²³ (18·2⁻⁵²)."""
    torch.clamp(z, -_far(z), _far(z), out=out)
    s = _sigmoid(out, torch.empty_like(out))
    one = constant(1, z)
    return out.mul_(one - s).add_(one).mul_(s)


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """s(1 − s)(2 + z(1 − 2s)) with s = sigmoid(z)."""
    torch.clamp(z, -_far(z), _far(z), out=out)
    s = _sigmoid(out, torch.empty_like(out))
    return out.mul_(1 - 2 * s).add_(2).mul_(s).mul_(1 - s)

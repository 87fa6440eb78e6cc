"""linear: the lecture's linear unit, slope·z + intercept."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def value(z: Tensor, out: Tensor, slope: float = 1.0, intercept: float = 0.0) -> Tensor:
    """The lecture's σ(x) = ax + b. Two roundings: one fused operation would round otherwise at a buffer's end."""
    return torch.mul(z, constant(slope, z), out=out).add_(constant(intercept, z))


def derivative(z: Tensor, x: Tensor, out: Tensor, slope: float = 1.0, intercept: float = 0.0) -> Tensor:
    """The slope."""
    return out.fill_(slope)


def second_derivative(z: Tensor, x: Tensor, out: Tensor, slope: float = 1.0, intercept: float = 0.0) -> Tensor:
    """Zero."""
    return out.fill_(0.0)

"""leaky_relu: z above zero, negative_slope·z below (Maas, Hannun & Ng 2013)."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def value(z: Tensor, out: Tensor, negative_slope: float = 0.01) -> Tensor:
    """negative_slope·min(z, 0) + max(z, 0): one of them is 0, so the sum is exact; `where` takes ten times as long."""
    torch.clamp(z, max=0, out=out).mul_(constant(negative_slope, z))
    return out.add_(torch.clamp(z, min=0))


def derivative(z: Tensor, x: Tensor, out: Tensor, negative_slope: float = 0.01) -> Tensor:
    """1 above zero, the slope below and at zero: step + (1 − step)·slope, exact."""
    torch.clamp(z, min=0, out=out).sign_()
    return out.add_((constant(1, z) - out).mul_(constant(negative_slope, z)))


def second_derivative(z: Tensor, x: Tensor, out: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Zero on both sides of the kink."""
    return out.fill_(0.0)

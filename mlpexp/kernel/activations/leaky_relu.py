"""leaky_relu: z above zero, negative_slope·z below (Maas, Hannun & Ng 2013)."""

import torch
from torch import Tensor


def value(z: Tensor, out: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Z above zero, negative_slope·z below."""
    torch.mul(z, negative_slope, out=out)
    return torch.where(z > 0, z, out, out=out)


def derivative(z: Tensor, x: Tensor, out: Tensor, negative_slope: float = 0.01) -> Tensor:
    """1 above zero, the slope below and at zero."""
    return out.fill_(negative_slope).masked_fill_(z > 0, 1.0)

"""Batch norm, forward and backward, lane by lane: x̂ = (x − μ)/√(v + ε), y = γx̂ + β (Ioffe & Szegedy 2015).

μ and v are mean and variance of each unit over the batch; v is centred first and divided by B. In evaluation the
running statistics take their place, as in torch.nn.BatchNorm1d.
"""

import torch
from torch import Tensor

from mlpexp.kernel.layout import Layout


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each unit over the batch, [R, k] each, for x [R, B, k]."""
    mean = x.sum(dim=1) / x.shape[1]
    return mean, torch.square(x - mean[:, None]).sum(dim=1) / x.shape[1]


def inverse_deviation(variance: Tensor, epsilon: float) -> Tensor:
    """1/√(v + ε), [R, k]."""
    return torch.sqrt(variance + epsilon).reciprocal_()


def pull(gradient: Tensor, normalised: Tensor, inverse: Tensor, gain: Tensor | None) -> tuple[Tensor, Tensor]:
    """Turn ∂ℓ/∂y [R, B, k] into ∂ℓ/∂x, in place; ℓ is the sum of the examples' losses, which share μ and v.

    Returns the means over the batch of ∂ℓ/∂y · x̂ and of ∂ℓ/∂y, [R, k]: the gradients of γ and β of the mean loss.
    """
    rows = gradient.shape[1]
    along, level = (gradient * normalised).sum(dim=1) / rows, gradient.sum(dim=1) / rows
    gradient.sub_(level[:, None]).sub_(normalised * along[:, None])
    gradient.mul_((inverse if gain is None else inverse * gain)[:, None])
    return along, level


def initial_rows(layout: Layout, parameters: Tensor) -> Tensor:
    """Rows [R, P + S] of networks that start with these weights [R, P]: γ = 1, β = 0, running mean 0 and variance 1."""
    rows = torch.cat([parameters, parameters.new_zeros(len(parameters), layout.statistics)], dim=1)
    for l, layer in enumerate(layout.layers[:-1]):
        if layer.affine:
            layout.gain(rows, l).fill_(1)
            layout.shift(rows, l).fill_(0)
        if layout.batch_norm:
            layout.running(rows, l)[1].fill_(1)
    return rows

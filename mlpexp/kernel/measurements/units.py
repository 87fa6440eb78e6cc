"""Of units, [R, L]: how large they are, how many are silent, saturated or dead.

`activation_…` is of each layer's outputs X_{l+1}, before dropout (of the last layer: of z_L).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mlpexp.kernel.lane_activations import Sigma
from mlpexp.kernel.measurements.step import Step, share_of_zeros
from mlpexp.kernel.network import Network, Trace
from mlpexp.kernel.norms import is_at_hand, norms

SATURATED_SLOPE = 0.05
"""A unit is saturated where |σ′| is less than this share of its largest value."""

SATURATED_BEYOND = {
    "sigmoid": (0.5, math.sqrt(1 - SATURATED_SLOPE) / 2),  # x(1 − x) < s/4
    "tanh": (0.0, math.sqrt(1 - SATURATED_SLOPE)),  # 1 − x² < s
    "softsign": (0.0, 1 - math.sqrt(SATURATED_SLOPE)),  # (1 − |x|)² < s
}
"""Where σ′ is that small, told by x = σ(z) alone: |x − centre| > distance."""


def activation_mean(step: Step) -> Tensor:
    """Mean of each layer's outputs over examples and units, [R, L]; of the last layer, of z_L."""
    return step.output_means


def activation_std(step: Step) -> Tensor:
    """Standard deviation of each layer's outputs over examples and units, [R, L].

    Outputs are centred before they are squared. In float32 the square of their mean is taken off their mean square
    instead where it is less than three quarters of it: the difference then keeps all but a digit.
    """
    if step.gradient.dtype == torch.float64:
        return _centred_std(step)
    square = norms(step.trace.blocks["outputs"], 2).T.square() / step.numbers
    of_mean = step.output_means.square()
    quick, keeps = (square - of_mean).sqrt(), of_mean <= 0.75 * square
    if is_at_hand(square) and keeps.all():
        return quick
    return torch.where(keeps, quick, _centred_std(step))


def _centred_std(step: Step) -> Tensor:
    means = step.output_means.T.to(step.gradient.dtype)[:, :, None, None]
    blocks = zip(step.layout.unit_blocks, step.trace.blocks["outputs"], strict=True)
    return norms([x - means[layers.start : layers.stop] for layers, x in blocks], 2).T / step.numbers.sqrt()


def activation_zeros(step: Step) -> Tensor:
    """Share of exact zeros among each layer's outputs, [R, L]: its sparsity."""
    return torch.cat([share_of_zeros(block) for block in step.trace.blocks["outputs"]]).T


def preactivation_square(step: Step) -> Tensor:
    """q_l: mean of z_l² over examples and units, [R, L]."""
    return norms(step.trace.blocks["z"], 2).T.square() / step.numbers


def saturation(step: Step) -> Tensor:
    """Share of (example, unit) pairs with |σ′| < 0.05·max σ′, [R, L]; NaN but for sigmoid, tanh and softsign."""
    shares = []
    for sigma, x in _activated(step):
        shares.append(x.new_full(x.shape[:2], torch.nan))
        for span, one in sigma.spans:
            if one.name in SATURATED_BEYOND:
                shares[-1][:, span] = _saturated(one.name, x[:, span])
    last = step.trace.outputs[-1]
    return torch.cat([*shares, last.new_full((1, len(last)), torch.nan)]).T


def _saturated(name: str, x: Tensor) -> Tensor:
    """Share of the outputs [layers, R, B, k] of one activation that lie far out, [layers, R]."""
    centre, distance = SATURATED_BEYOND[name]
    size = (x - centre).abs_() if centre else x.abs()
    return torch.gt(size, distance, out=size).sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


def _activated(step: Step) -> Iterator[tuple[Sigma, Tensor]]:
    """σ and σ(z) [layers, R, B, k] of hidden layers, neighbours that are alike together."""
    layout, network = step.layout, step.network
    in_blocks = not layout.skip and not (layout.batch_norm and layout.batch_norm.placement == "after")
    for layers, block in zip(layout.unit_blocks, step.trace.blocks["outputs"], strict=True):
        hidden = range(layers.start, min(layers.stop, layout.depth - 1))
        sigmas = [network.activations[l] for l in hidden]
        if in_blocks and sigmas and all(sigma == sigmas[0] for sigma in sigmas):
            yield sigmas[0], block[: len(hidden)]
        else:
            yield from ((network.activations[l], step.trace.activated[l][None]) for l in hidden)


def dead_units(step: Step) -> Tensor:
    """Share of units with σ′ = 0 for every example of the probe, [R, L]; NaN for the last layer.

    Before the first update these are the units born off.
    """
    return _share_of_units(_dead(step.network, step.probed))


def killed_units(step: Step) -> Tensor:
    """Share of units that are dead now and were not before training, [R, L]; NaN for the last layer."""
    born_off = _dead(step.network, step.probed_at_start)
    now = _dead(step.network, step.probed)
    return _share_of_units([dead & ~born for dead, born in zip(now, born_off, strict=True)])


def _dead(network: Network, trace: Trace) -> list[Tensor]:
    """Which units of each hidden layer pass nothing back for any example, [R, k] each."""
    found = []
    for activation, z, x in zip(network.activations, trace.arguments, trace.activated, strict=False):
        slope = activation.derivative(z, x, torch.empty_like(z))
        found.append(slope.abs().amax(dim=1) == 0)
    return found


def _share_of_units(layers: list[Tensor]) -> Tensor:
    shares = [units.sum(dim=1) / units.shape[1] for units in layers]
    return torch.stack([*shares, torch.full_like(shares[0], torch.nan)], dim=1)

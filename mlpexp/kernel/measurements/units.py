"""Of units, [R, L]: how large they are, how many are silent, saturated or dead.

`activation_…` is of each layer's outputs X_{l+1}, before dropout (of the last layer: of z_L).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.linalg import vector_norm

from mlpexp.kernel.measurements.step import Step
from mlpexp.kernel.network import Network, Trace

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
    return _by_units(step, "outputs", _mean)


def activation_std(step: Step) -> Tensor:
    """Standard deviation of each layer's outputs over examples and units, [R, L]; centred before it is squared."""

    def spread(x: Tensor) -> Tensor:
        centred = x - _mean(x)[:, :, None, None].to(x.dtype)
        root: Tensor = vector_norm(centred, dim=(2, 3), dtype=torch.float64)
        return root / math.sqrt(x.shape[2] * x.shape[3])

    return _by_units(step, "outputs", spread)


def activation_zeros(step: Step) -> Tensor:
    """Share of exact zeros among each layer's outputs, [R, L]: its sparsity."""
    return _by_units(step, "outputs", lambda x: (x == 0).sum(dim=(2, 3)) / (x.shape[2] * x.shape[3]))


def preactivation_square(step: Step) -> Tensor:
    """q_l: mean of z_l² over examples and units, [R, L]."""

    def mean_square(z: Tensor) -> Tensor:
        root: Tensor = vector_norm(z, dim=(2, 3), dtype=torch.float64)
        return root.square_().div_(z.shape[2] * z.shape[3])

    return _by_units(step, "z", mean_square)


def saturation(step: Step) -> Tensor:
    """Share of (example, unit) pairs with |σ′| < 0.05·max σ′, [R, L]; NaN but for sigmoid, tanh and softsign."""
    undefined = torch.full_like(step.trace.z[0][:, 0, 0], torch.nan)
    shares = []
    for activation, x in zip(step.network.activations, step.trace.activated, strict=True):
        if activation.name not in SATURATED_BEYOND:
            shares.append(undefined)
            continue
        centre, distance = SATURATED_BEYOND[activation.name]
        size = (x - centre).abs_() if centre else x.abs()
        shares.append((size > distance).sum(dim=(1, 2)) / (x.shape[1] * x.shape[2]))
    return torch.stack([*shares, undefined], dim=1)


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


def _mean(x: Tensor) -> Tensor:
    return x.sum(dim=(2, 3), dtype=torch.float64) / (x.shape[2] * x.shape[3])


def _by_units(step: Step, name: str, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """A reduction [layers, R, B, units] → [layers, R], applied to each block of layers, as [R, L]."""
    return torch.cat([reduce(block) for block in step.trace.blocks[name]]).T

"""What is measured of each layer, [R, L], from what forward and backward already hold.

All lanes and all layers of one shape are measured in one operation. Squares are summed in double precision: a plain
float32 norm of numbers around 1e-25 reads 0 and fakes vanishing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from mlpexp.kernel.layout import Layout
from mlpexp.kernel.network import Trace


@dataclass(frozen=True)
class Step:
    """One step as measurements see it: before the update is added. `update` is None after the last one."""

    layout: Layout
    trace: Trace
    parameters: Tensor
    gradient: Tensor
    update: Tensor | None


def gradient_norm(step: Step) -> Tensor:
    """Frobenius norm of each layer's weight gradient (batch mean), [R, L]; biases are not included."""
    return _weight_norms(step.layout, step.gradient)


def delta_norm(step: Step) -> Tensor:
    """√(mean over examples of ‖δ_l‖²), [R, L]: each example's own derivative, summed over units, never divided by B."""
    norms: Tensor = _by_units(step, "deltas", lambda d: vector_norm(d, dim=(2, 3), dtype=torch.float64))
    norms /= math.sqrt(step.trace.rows)
    return norms


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
    """Share of exact zeros among each layer's outputs, [R, L]."""
    return _by_units(step, "outputs", lambda x: (x == 0).sum(dim=(2, 3)) / (x.shape[2] * x.shape[3]))


def update_ratio(step: Step) -> Tensor:
    """‖ΔW_l‖/‖W_l‖ of the update that follows, [R, L]; NaN after the last one."""
    weights = _weight_norms(step.layout, step.parameters)
    return (
        torch.full_like(weights, torch.nan)
        if step.update is None
        else _weight_norms(step.layout, step.update) / weights
    )


QUANTITIES: dict[str, Callable[[Step], Tensor]] = {
    one.__name__: one
    for one in (gradient_norm, delta_norm, activation_mean, activation_std, activation_zeros, update_ratio)
}


def measure(quantities: Sequence[str], step: Step) -> dict[str, Tensor]:
    """Each named quantity, [R, L]."""
    return {name: QUANTITIES[name](step) for name in quantities}


def _mean(x: Tensor) -> Tensor:
    return x.sum(dim=(2, 3), dtype=torch.float64) / (x.shape[2] * x.shape[3])


def _by_units(step: Step, name: str, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """A reduction [layers, R, B, units] → [layers, R], applied to each block of layers, as [R, L]."""
    return torch.cat([reduce(block) for block in step.trace.blocks[name]]).T


def _weight_norms(layout: Layout, rows: Tensor) -> Tensor:
    """Frobenius norm of each layer's weights in rows [R, P], [R, L]."""
    blocks = [layout.weight_block(rows, block) for block in layout.weight_blocks]
    return torch.cat([vector_norm(block, dim=2, dtype=torch.float64) for block in blocks], dim=1)

"""Histograms of each layer, [R, L, 2 + bins]: the least and the largest value, then counts in equal bins between them.

Ranges are each layer's own at that step: δ of one network spans many decades. What is not finite is not counted.
"""

import math

import torch
from torch import Tensor

from mlpexp.kernel.measurements.step import Step

BINS = 32


def gradient_histogram(step: Step) -> Tensor:
    """log₁₀|g| over each layer's weight gradient, [R, L, 2 + bins]; exact zeros are not counted."""
    layout = step.layout
    found = []
    for block in layout.weight_blocks:
        sizes = layout.weight_block(step.gradient, block).abs()
        found.append(counted(torch.log(sizes).mul_(1 / math.log(10))))
    return torch.cat(found, dim=1)


def activation_histogram(step: Step) -> Tensor:
    """Each layer's outputs over examples and units, [R, L, 2 + bins]."""
    return _by_units(step, "outputs")


def delta_histogram(step: Step) -> Tensor:
    """δ_l over examples and units, [R, L, 2 + bins]."""
    return _by_units(step, "deltas")


def counted(values: Tensor) -> Tensor:
    """Histograms over the last dimension, [a, b, n] → [a, b, 2 + bins], in double precision; NaN where none is finite.

    Bins are half open, but for the last one. A single value goes into the first bin.
    """
    finite = torch.isfinite(values)
    low = torch.where(finite, values, torch.inf).amin(dim=2, keepdim=True)
    high = torch.where(finite, values, -torch.inf).amax(dim=2, keepdim=True)
    scale = BINS / torch.where(high > low, high - low, 1.0)
    places = torch.where(finite, ((values - low) * scale).clamp_(0, BINS - 1), BINS).to(torch.int64)
    counts = values.new_zeros(*values.shape[:2], BINS + 1, dtype=torch.float64)
    counts.scatter_add_(2, places, torch.ones_like(values, dtype=torch.float64))  # whole numbers: exact in any order
    found = torch.cat([low, high, counts[:, :, :BINS]], dim=2)
    return torch.where(low <= high, found, torch.nan)


def _by_units(step: Step, name: str) -> Tensor:
    blocks = [counted(block.flatten(2)) for block in step.trace.blocks[name]]
    return torch.cat(blocks).transpose(0, 1)

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

    Bins are half open, but for the last one. Where all values are one, they are in the first bin.
    """
    # the least of −0 and 0, and of two denormals that count as 0, is the one that is looked at last, which depends on
    # where a lane lies: adding 0 in double precision makes all of them the one 0
    values = values.to(torch.float64).add(0.0)
    finite = torch.isfinite(values)
    low = torch.where(finite, values, torch.inf).amin(dim=2, keepdim=True)
    high = torch.where(finite, values, -torch.inf).amax(dim=2, keepdim=True)
    span = high / 2 - low / 2  # of float64's whole range this is finite, and a share of it is at most 1
    shares = (values / 2 - low / 2) / torch.where(span > 0, span, 1.0)
    places = torch.where(finite, (shares * BINS).clamp_(0, BINS - 1), BINS).to(torch.int64)
    counts = values.new_zeros(*values.shape[:2], BINS + 1)
    counts.scatter_add_(2, places, torch.ones_like(values))  # whole numbers: exact in any order
    found = torch.cat([low, high, counts[:, :, :BINS]], dim=2)
    return torch.where(low <= high, found, torch.nan)


def _by_units(step: Step, name: str) -> Tensor:
    blocks = [counted(block.flatten(2)) for block in step.trace.blocks[name]]
    return torch.cat(blocks).transpose(0, 1)

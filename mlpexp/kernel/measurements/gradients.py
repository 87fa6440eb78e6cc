"""Of gradients, [R, L]: size, noise, and what of the loss's signal comes back through the layers.

`gradient_…` is of the batch's mean loss, before penalties, clipping and weight decay; `delta_…` and `signal_…` are each
example's own, never divided by B.
"""

import math

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant
from mlpexp.kernel.measurements.step import Step
from mlpexp.kernel.norms import norms


def gradient_norm(step: Step) -> Tensor:
    """Frobenius norm of each layer's weight gradient (batch mean), [R, L]; biases are not included."""
    return step.gradient_norms


def gradient_max(step: Step) -> Tensor:
    """Largest |g| of each layer's weight gradient, [R, L]."""
    layout = step.layout
    blocks = [layout.weight_block(step.gradient, block) for block in layout.weight_blocks]
    return torch.cat([block.abs().amax(dim=2) for block in blocks], dim=1)


def gradient_zeros(step: Step) -> Tensor:
    """Share of exact zeros in each layer's weight gradient, [R, L]."""
    layout, gradient = step.layout, step.gradient
    zeros = torch.eq(gradient, constant(0, gradient), out=torch.empty_like(gradient))
    blocks = [layout.weight_block(zeros, block) for block in layout.weight_blocks]
    return torch.cat([block.sum(dim=2) / constant(block.shape[2], zeros) for block in blocks], dim=1)


def delta_norm(step: Step) -> Tensor:
    """√(mean over examples of ‖δ_l‖²), [R, L]: each example's own derivative, summed over units, never divided by B."""
    sizes = norms(step.trace.blocks["deltas"], 2).T
    return sizes / constant(math.sqrt(step.trace.rows), sizes)


def signal_norm(step: Step) -> Tensor:
    """√(mean over examples of ‖∂ℓ/∂X_{l+1}‖²) at the outputs of hidden layers, [R, L]; NaN for the last one.

    Between skip connections this, not δ, is what is passed on from layer to layer.
    """
    sizes = norms([signal[None] for signal in step.trace.signals], 2).T / math.sqrt(step.trace.rows)
    return torch.cat([sizes, torch.full_like(sizes[:, :1], torch.nan)], dim=1)


def gradient_second_moment(step: Step) -> Tensor:
    """Mean over examples of ‖x_l‖²‖δ_l‖² + ‖δ_l‖²: squared norms of their own gradients of W_l and b_l, [R, L]."""
    return step.second_moments


def gradient_variance(step: Step) -> Tensor:
    """trΣ_l = (M2 − ‖ḡ‖²)B/(B − 1) of the examples' own gradients of W_l and b_l, [R, L]; NaN for a batch of one.

    McCandlish et al. 2018, appendix A. Unbiased over batches, so average it over steps before dividing.
    """
    rows = step.trace.rows
    if rows == 1:
        return torch.full_like(step.second_moments, torch.nan)
    return (step.second_moments - step.gradient_squares) * (rows / (rows - 1))


def gradient_square(step: Step) -> Tensor:
    """‖G_l‖² = (B‖ḡ‖² − M2)/(B − 1): unbiased for the squared norm of the expected gradient, [R, L]; may be negative.

    NaN for a batch of one. Keep negative values and average over steps before dividing.
    """
    rows = step.trace.rows
    if rows == 1:
        return torch.full_like(step.second_moments, torch.nan)
    return (step.gradient_squares * rows - step.second_moments) / (rows - 1)

"""Of weights, [R, L], biases not included: how large they are, how far they have come, how fast they move."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import singular_values
from mlpexp.kernel.measurements.step import Step, weight_norms


def update_ratio(step: Step) -> Tensor:
    """‖ΔW_l‖/‖W_l‖ of the update that follows, [R, L]; NaN after the last one."""
    if step.update is None:
        return torch.full_like(step.weight_norms, torch.nan)
    return weight_norms(step.layout, step.update) / step.weight_norms


def weight_norm(step: Step) -> Tensor:
    """Frobenius norm of W_l, [R, L]."""
    return step.weight_norms


def weight_max(step: Step) -> Tensor:
    """Largest |w| of W_l, [R, L]."""
    layout = step.layout
    blocks = [layout.weight_block(step.network.parameters, block) for block in layout.weight_blocks]
    return torch.cat([block.abs().amax(dim=2) for block in blocks], dim=1)


def weight_distance(step: Step) -> Tensor:
    """‖W_l − W_l(0)‖, the distance from where training began, [R, L] (Hoffer et al. 2017: it grows like log t)."""
    size = step.layout.size
    return weight_norms(step.layout, step.network.parameters - step.initial[:, :size])


def weight_spectral_norm(step: Step) -> Tensor:
    """Largest singular value of W_l, [R, L]."""
    return torch.stack([singular_values(weight).amax(dim=1) for weight in step.network.weights], dim=1)

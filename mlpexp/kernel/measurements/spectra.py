"""Spectra on the probe: how many directions a layer's outputs use, and how the network stretches its inputs."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import product, singular_values
from mlpexp.kernel.measurements.step import Step
from mlpexp.kernel.network import Network, Trace

JACOBIAN_EXAMPLES = 16
"""So many of the probe's examples have their Jacobian taken apart."""


def effective_rank(step: Step) -> Tensor:
    """exp of the entropy of the normalised singular values of each layer's outputs [E, k] on the probe, [R, L].

    Roy & Vetterli 2007. Not centred; a layer that only puts out zeros has rank 0.
    """
    return torch.stack([_effective_rank(singular_values(x)) for x in step.probed.outputs], dim=1)


def _effective_rank(values: Tensor) -> Tensor:
    total = values.sum(dim=1, keepdim=True)
    shares = values / torch.where(total > 0, total, 1.0)
    terms = shares * torch.log(torch.where(shares > 0, shares, 1.0))
    rank = torch.exp(-terms.sum(dim=1))
    return torch.where(total[:, 0] == 0, 0.0, rank)


def jacobian_singular_values(step: Step) -> Tensor:
    """Singular values of ∂X_L/∂X_1, last hidden layer against input, largest first, [R, min(q, k_L)].

    Each is the mean over the probe's first 16 examples, as the network is in evaluation.
    """
    found = []
    for lane in range(step.network.lanes):  # one at a time: [E, q, k] of all lanes would not fit into memory
        jacobians = input_jacobians(step.network, step.probed, lane)
        found.append(singular_values(jacobians).sum(dim=0) / len(jacobians))
    return torch.stack(found)


def input_jacobians(network: Network, trace: Trace, lane: int) -> Tensor:
    """∂X_L/∂X_1 of one lane at the first examples of a trace, [E, q, k_L], in double precision."""
    layout, norm = network.layout, network.layout.batch_norm
    examples = slice(0, JACOBIAN_EXAMPLES)
    rows = min(trace.rows, JACOBIAN_EXAMPLES)
    jacobian = torch.empty(0)
    for l in range(layout.depth - 1):
        z, x = trace.arguments[l], trace.activated[l]
        slope = network.activations[l].derivative(z, x, torch.empty_like(z))[lane, examples].to(torch.float64)
        if norm:
            gain = layout.gain(network.rows, l) if norm.affine else torch.ones_like(trace.inverse[l])
            slope = slope * (trace.inverse[l] * gain)[lane].to(torch.float64)
        weight = network.weights[l][lane].to(torch.float64).expand(rows, -1, -1)
        passed = (weight if l == 0 else product(jacobian, weight)) * slope[:, None, :]
        jacobian = passed + jacobian if layout.layers[l].skip else passed
    return jacobian

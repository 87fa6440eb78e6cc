"""Backpropagation, written out: δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ σ′(Z_l), and the mean gradient of a batch, [R, P]."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import product
from mlpexp.kernel.network import Network, Trace


def backward(network: Network, trace: Trace, delta: Tensor, gradient: Tensor) -> Tensor:
    """Fill `gradient` [R, P] with the gradient of each lane's mean loss over the batch.

    `delta` [R, B, k] is ∂ℓ_i/∂z at the output, of each example's own loss. Every δ_l stays in the trace, undivided;
    the 1/B enters with the gradient. Call it after `forward` with the same trace.
    """
    layout = network.layout
    trace.deltas[-1].copy_(delta)
    for l in reversed(range(layout.depth)):
        delta = trace.deltas[l]
        mean = product(trace.inputs[l].transpose(1, 2), delta)
        torch.div(mean, trace.rows, out=layout.weight(gradient, l))
        if layout.bias:
            torch.div(delta.sum(dim=1), trace.rows, out=layout.biases(gradient, l))
        if l > 0:
            below = product(delta, network.weights[l].transpose(1, 2), out=trace.deltas[l - 1])
            if trace.masks:
                below *= trace.masks[l - 1]
            scratch = torch.empty_like(below)
            below *= network.activation.derivative(trace.z[l - 1], trace.outputs[l - 1], scratch)
    return gradient

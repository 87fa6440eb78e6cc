"""Backpropagation, written out: δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ σ′(Z_l), and the mean gradient of a batch, [R, P]."""

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant, product
from mlpexp.kernel.network import Network, Trace
from mlpexp.kernel.normalisation import pull


def backward(network: Network, trace: Trace, delta: Tensor, gradient: Tensor) -> Tensor:
    """Fill `gradient` [R, P] with the gradient of each lane's mean loss over the batch.

    `delta` [R, B, k] is ∂ℓ_i/∂z at the output, of each example's own loss. Every δ_l stays in the trace, undivided;
    the 1/B enters with the gradient. With batch norm the examples of a batch share its statistics, and δ_l of an
    example is the derivative of the sum of their losses by its z_l. Call it after `forward` with the same trace.
    """
    layout = network.layout
    trace.deltas[-1].copy_(delta)
    rows = constant(trace.rows, delta)
    for l in reversed(range(layout.depth)):
        delta = trace.deltas[l]
        mean = product(trace.inputs[l].transpose(1, 2), delta)
        torch.div(mean, rows, out=layout.weight(gradient, l))
        if layout.bias:
            torch.div(delta.sum(dim=1), rows, out=layout.biases(gradient, l))
        if l > 0:
            signal = product(delta, network.weights[l].transpose(1, 2), out=trace.deltas[l - 1])
            if layout.layers[l].skip:
                signal += trace.signals[l]
            if trace.signals:
                trace.signals[l - 1].copy_(signal)
            through_unit(network, trace, l - 1, signal, gradient)
    return gradient


def through_unit(network: Network, trace: Trace, l: int, signal: Tensor, gradient: Tensor) -> None:
    """From ∂ℓ/∂X_{l+1} to δ_l, in place: back through dropout, batch norm and σ of hidden layer l."""
    norm = network.layout.batch_norm
    if trace.masks:
        signal *= trace.masks[l]
    if norm and norm.placement == "after":
        through_norm(network, trace, l, signal, gradient)
    signal *= network.activations[l].derivative(trace.arguments[l], trace.activated[l], trace.scratch[l])
    if norm and norm.placement == "before":
        through_norm(network, trace, l, signal, gradient)


def through_norm(network: Network, trace: Trace, l: int, signal: Tensor, gradient: Tensor) -> None:
    """Back through the batch norm of hidden layer l, in place; the gradients of γ and β go into `gradient`."""
    layout, affine = network.layout, network.layout.layers[l].affine
    gain = layout.gain(network.rows, l) if affine else None
    along, level = pull(signal, trace.normalised[l], trace.inverse[l], gain)
    if affine:
        layout.gain(gradient, l).copy_(along)
        layout.shift(gradient, l).copy_(level)

"""One step as measurements see it, and the fixed examples on which some of them look at the network.

Flow: forward, backward and the update rule → **step** → measurements.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.network import Network, Trace, forward
from mlpexp.kernel.norms import norms, row_norms, sums


@dataclass(frozen=True)
class Probe:
    """The first training examples, the same at every step: `inputs` [E, q] shared, `targets` [R, E, k] of each lane."""

    inputs: Tensor
    targets: Tensor
    loss: Loss

    def passed(self, network: Network) -> Trace:
        """What a network makes of the probe, as in evaluation: without dropout, with running statistics."""
        trace = Trace(network, len(self.inputs))
        forward(network, self.inputs.expand(network.lanes, -1, -1), trace, running=True)
        return trace


@dataclass(frozen=True)
class Step:
    """One step before its update is added, which is None after the last one. What several quantities need is kept.

    `gradient` [R, P] is that of the mean loss, before penalties, clipping and weight decay. `initial` [R, P + S] are
    the rows of the network before training.
    """

    network: Network
    trace: Trace
    gradient: Tensor
    update: Tensor | None
    initial: Tensor
    probe: Probe

    @property
    def layout(self) -> Layout:
        """The networks' shape."""
        return self.network.layout

    @cached_property
    def probed(self) -> Trace:
        """What the networks make of the probe now."""
        return self.probe.passed(self.network)

    @cached_property
    def probed_at_start(self) -> Trace:
        """What they made of it before training."""
        return self.probe.passed(Network(self.layout, self.network.activations, self.initial))

    @cached_property
    def weight_norms(self) -> Tensor:
        """‖W_l‖, [R, L], in double precision."""
        return weight_norms(self.layout, self.network.parameters)

    @cached_property
    def numbers(self) -> Tensor:
        """How many numbers the outputs of each layer are, over examples and units, [L]."""
        return torch.tensor(
            [self.trace.rows * x.outputs for x in self.layout.layers], device=self.gradient.device, dtype=torch.float64
        )

    @cached_property
    def output_means(self) -> Tensor:
        """Mean of each layer's outputs over examples and units, [R, L], in double precision."""
        return sums(self.trace.blocks["outputs"], 2).T / self.numbers

    @cached_property
    def second_moments(self) -> Tensor:
        """Mean over the batch of the squared norm of each example's own gradient of W_l and b_l, [R, L].

        One example's gradient of W_l is the outer product of x_l and δ_l, so its squared norm is the product of
        theirs; that of b_l is δ_l. The [R, B, k_l, k_{l+1}] tensor is never built (Goodfellow 2015, arXiv 1510.01799).
        """
        deltas = row_norms(self.trace.blocks["deltas"])
        inputs = self._input_norms().square_()
        if self.layout.bias:
            inputs += constant(1, inputs)
        moments = inputs.mul_(deltas.square_()).sum(dim=2)
        return moments.div_(constant(self.trace.rows, moments)).T

    def _input_norms(self) -> Tensor:
        """‖x_{l,i}‖ of what enters each layer, [L, R, B]; dropout's masks are in it."""
        trace = self.trace
        entering = [x[None] for x in trace.inputs]
        return row_norms(entering if trace.masks else [entering[0], *trace.blocks["outputs"]])[: len(entering)]

    @cached_property
    def gradient_norms(self) -> Tensor:
        """‖ḡ_l‖ of the batch's mean gradient of W_l, [R, L]."""
        return weight_norms(self.layout, self.gradient)

    @cached_property
    def gradient_squares(self) -> Tensor:
        """‖ḡ_l‖² of the batch's mean gradient of W_l and b_l, [R, L]."""
        layout, squares = self.layout, self.gradient_norms.square()
        if layout.bias:
            biases = [layout.bias_block(self.gradient, block) for block in layout.weight_blocks]
            squares += norms(biases, 1, join=1).square_()
        return squares


def weight_norms(layout: Layout, rows: Tensor) -> Tensor:
    """Frobenius norm of each layer's weights in rows [R, P …], [R, L]; squares are summed in double precision."""
    blocks = [layout.weight_block(rows, block) for block in layout.weight_blocks]
    return norms(blocks, 1, join=1)


def share_of_zeros(layers: Tensor) -> Tensor:
    """Share of exact zeros in each layer of each lane, [layers, R], for numbers [layers, R, …].

    Counted as numbers, since booleans are slow, and a layer at a time, since what is written down for all of them
    drives out of the cache what the step needs next.
    """
    zeros, none, within = torch.empty_like(layers[0]), constant(0, layers), tuple(range(1, len(layers.shape) - 1))
    counts = torch.stack([torch.eq(layer, none, out=zeros).sum(dim=within) for layer in layers])
    return counts / constant(zeros.numel() / len(zeros), counts)

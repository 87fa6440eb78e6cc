"""The forward pass of R networks of one shape: X_{l+1} = σ(X_l W_l + b_l), and z_L for the output function."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mlpexp.kernel.activations import Activation
from mlpexp.kernel.arithmetic import product
from mlpexp.kernel.layout import Layout


@dataclass
class Network:
    """R multilayer perceptrons; `parameters` is Θ, [R, P], and every W_l and b_l a view into it."""

    layout: Layout
    activation: Activation
    parameters: Tensor
    weights: list[Tensor] = field(init=False, repr=False)
    biases: list[Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        layers = range(self.layout.depth)
        self.weights = [self.layout.weight(self.parameters, l) for l in layers]
        self.biases = [self.layout.biases(self.parameters, l) for l in layers] if self.layout.bias else []

    @property
    def lanes(self) -> int:
        """R."""
        return len(self.parameters)

    def lane(self, lane: int) -> "Network":
        """The network of one lane, whose parameters are a view: what changes them changes these."""
        return Network(self.layout, self.activation, self.parameters[lane : lane + 1])

    def select(self, lanes: Tensor) -> "Network":
        """The networks of these lanes, copied; their numbers do not depend on who else is there."""
        return Network(self.layout, self.activation, self.parameters.index_select(0, lanes))


class Trace:
    """What one forward and backward pass of `rows` examples leaves behind, in buffers that are used again.

    Lists have an entry a layer, of shape [R, B, units]: `z`, `outputs` (σ(z); of the last layer z itself), `deltas`.
    `inputs` are the X_l that enter a layer; with dropout they are masked outputs, else the outputs themselves.
    Layers of equal width lie in one buffer [layers, R, B, units] (`blocks`), so one operation measures them all.
    """

    def __init__(self, network: Network, rows: int) -> None:
        layout, like = network.layout, network.parameters
        self.rows = rows
        self.blocks: dict[str, list[Tensor]] = {
            name: [
                like.new_empty(len(block), network.lanes, rows, layout.layers[block.start].outputs)
                for block in layout.unit_blocks
            ]
            for name in ("z", "outputs", "deltas")
        }
        self.z, self.outputs, self.deltas = ([layer for b in self.blocks[n] for layer in b] for n in self.blocks)
        self.inputs: list[Tensor] = [like] * layout.depth
        self.masks: list[Tensor] = []


def forward(
    network: Network,
    inputs: Tensor,
    trace: Trace,
    masks: list[Tensor] | None = None,
    after_product: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """z_L, [R, B, k_{L+1}], for inputs [R, B, q]; keeps every X_l and Z_l in the trace.

    `masks` multiply the outputs of hidden layers (dropout), one [R, B, k] for each. `after_product(l, X_l W_l)` may
    change the product in place before it goes on (initialisation by data).
    """
    trace.masks = masks or []
    last = network.layout.depth - 1
    for l, weight in enumerate(network.weights):
        trace.inputs[l] = inputs
        z = product(inputs, weight, out=trace.z[l])
        if after_product:
            after_product(l, z)
        if network.biases:
            z += network.biases[l][:, None, :]
        if l == last:
            trace.outputs[l].copy_(z)
            break
        inputs = network.activation.value(z, trace.outputs[l])
        if masks:
            inputs = inputs * masks[l]
    logits: Tensor = trace.z[last]
    return logits


def predict(network: Network, inputs: Tensor, rows: int) -> Iterator[tuple[int, Tensor]]:
    """(start, z_L [R, rows, k]) of shared inputs [n, q], in chunks of a constant size, the last one padded with zeros.

    The tensor is a buffer that the next chunk overwrites.
    """
    trace = Trace(network, rows)
    for start in range(0, len(inputs), rows):
        chunk = inputs[start : start + rows]
        if len(chunk) < rows:
            chunk = torch.cat([chunk, chunk.new_zeros(rows - len(chunk), chunk.shape[1])])
        yield start, forward(network, chunk.expand(network.lanes, -1, -1), trace)

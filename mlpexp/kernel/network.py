"""The forward pass of R networks of one shape: X_{l+1} = σ_l(X_l W_l + b_l), and z_L for the output function.

Around σ may stand batch norm, dropout, and a skip connection, in this order: X_{l+1} = mask · norm(σ(z_l)) + X_l.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import fewer_rows_have_the_bits, product
from mlpexp.kernel.lane_activations import Sigma
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.normalisation import batch_statistics, inverse_deviation

ROWS_OF_A_KIND = 8
"""Rows that BLAS takes together; a chunk has a multiple of them."""


@dataclass
class Network:
    """R multilayer perceptrons. Every W_l and b_l is a view into `parameters`, Θ [R, P].

    `rows` [R, P + S] are the parameters with the running statistics of batch norm (S = 0 without) behind them.
    `activations` has one of each hidden layer, which may differ between lanes.
    """

    layout: Layout
    activations: Sequence[Sigma]
    rows: Tensor
    parameters: Tensor = field(init=False, repr=False)
    weights: list[Tensor] = field(init=False, repr=False)
    biases: list[Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        layers = range(self.layout.depth)
        self.parameters = self.rows[:, : self.layout.size]
        self.weights = [self.layout.weight(self.rows, l) for l in layers]
        self.biases = [self.layout.biases(self.rows, l) for l in layers] if self.layout.bias else []

    @property
    def lanes(self) -> int:
        """R."""
        return len(self.rows)

    def lane(self, lane: int) -> "Network":
        """The network of one lane, whose rows are a view: what changes them changes these."""
        sigmas = [sigma.select([lane]) for sigma in self.activations]
        return Network(self.layout, sigmas, self.rows[lane : lane + 1])

    def select(self, lanes: Tensor) -> "Network":
        """The networks of these lanes, copied; their numbers do not depend on who else is there."""
        kept = [int(lane) for lane in lanes]
        sigmas = [sigma.select(kept) for sigma in self.activations]
        return Network(self.layout, sigmas, self.rows.index_select(0, lanes))


class Trace:
    """What one forward and backward pass of `rows` examples leaves behind, in buffers that are used again.

    Lists have an entry a layer, of shape [R, B, units]: `z`; `arguments` of σ (z, or its normalised form); `activated`,
    σ of them; `outputs` X_{l+1} (of the last layer z itself), before dropout unless a skip connection follows it;
    `deltas`. `inputs` are the X_l that enter a layer, after dropout. With batch norm `normalised` are the x̂, `mean`,
    `variance` and `inverse` [R, units] the batch's. With skip connections `signals` are ∂ℓ/∂X_{l+1} of hidden layers.
    Layers of equal width lie in one buffer [layers, R, B, units] (`blocks`), so one operation measures them all.
    """

    def __init__(self, network: Network, rows: int) -> None:
        layout, like, lanes = network.layout, network.parameters, network.lanes
        self.rows = rows
        norm = layout.batch_norm
        self.blocks: dict[str, list[Tensor]] = {
            name: [
                like.new_empty(len(block), lanes, rows, layout.layers[block.start].outputs)
                for block in layout.unit_blocks
            ]
            for name in ("z", "outputs", "deltas", *(["arguments"] if norm and norm.placement == "before" else []))
        }
        self.blocks.setdefault("arguments", self.blocks["z"])
        per_layer = {name: [layer for block in blocks for layer in block] for name, blocks in self.blocks.items()}
        self.z, self.arguments, self.outputs = per_layer["z"], per_layer["arguments"], per_layer["outputs"]
        self.deltas = per_layer["deltas"]
        hidden = layout.layers[:-1]

        def own(needed: bool) -> list[Tensor]:
            return [like.new_empty(lanes, rows, layer.outputs) for layer in hidden] if needed else []

        normalised_after = norm is not None and norm.placement == "after"
        self.activated = [
            torch.empty_like(x) if layer.skip or normalised_after else x
            for layer, x in zip(hidden, self.outputs, strict=False)
        ]
        self.normalised, self.signals = own(norm is not None), own(layout.skip)
        widest = {layer.outputs: torch.empty_like(x) for layer, x in zip(hidden, self.outputs, strict=False)}
        self.scratch = [widest[layer.outputs] for layer in hidden]
        self.mean, self.variance, self.inverse = ([like] * len(hidden) for _ in range(3))
        self.inputs: list[Tensor] = [like] * layout.depth
        self.masks: list[Tensor] = []


def forward(
    network: Network,
    inputs: Tensor,
    trace: Trace,
    masks: list[Tensor] | None = None,
    running: bool = False,
    after_product: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """z_L, [R, B, k_{L+1}], for inputs [R, B, q]; keeps every X_l and Z_l in the trace.

    `masks` multiply the outputs of hidden layers (dropout), one [R, B, k] for each. `running`: batch norm takes its
    running statistics instead of the batch's, as in evaluation. `after_product(l, X_l W_l)` may change the product in
    place before it goes on (initialisation by data).
    """
    trace.masks = masks or []
    norm, last = network.layout.batch_norm, network.layout.depth - 1
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
        if norm and norm.placement == "before":
            z = normalise(network, trace, l, z, trace.arguments[l], running)
        x = network.activations[l].value(z, trace.activated[l])
        if norm and norm.placement == "after":
            x = normalise(network, trace, l, x, trace.outputs[l], running)
        if masks:
            x = x * masks[l]
        inputs = torch.add(x, inputs, out=trace.outputs[l]) if network.layout.layers[l].skip else x
    logits: Tensor = trace.z[last]
    return logits


def normalise(network: Network, trace: Trace, l: int, x: Tensor, out: Tensor, running: bool) -> Tensor:
    """γx̂ + β of hidden layer l into `out` [R, B, k]; the trace keeps what the backward pass needs."""
    layout, norm = network.layout, network.layout.batch_norm
    assert norm is not None
    trace.mean[l], trace.variance[l] = layout.running(network.rows, l) if running else batch_statistics(x)
    trace.inverse[l] = inverse_deviation(trace.variance[l], norm.epsilon)
    y = torch.sub(x, trace.mean[l][:, None], out=trace.normalised[l]).mul_(trace.inverse[l][:, None])
    if not norm.affine:
        return out.copy_(y)
    return torch.addcmul(layout.shift(network.rows, l)[:, None], y, layout.gain(network.rows, l)[:, None], out=out)


def remember_statistics(network: Network, trace: Trace, where: Tensor) -> None:
    """Running mean and variance move towards the batch's, in lanes `where` [R]; v unbiased, as torch keeps it."""
    layout, norm = network.layout, network.layout.batch_norm
    if norm is None:
        return
    unbiased = trace.rows / (trace.rows - 1)
    for l in range(layout.depth - 1):
        mean, variance = layout.running(network.rows, l)
        for kept, new in ((mean, trace.mean[l]), (variance, trace.variance[l] * unbiased)):
            kept.copy_(torch.where(where[:, None], kept * (1 - norm.momentum) + new * norm.momentum, kept))


def predict(network: Network, inputs: Tensor, rows: int) -> Iterator[tuple[int, Tensor]]:
    """(start, z_L [R, rows, k]) of shared inputs [n, q], in chunks of a constant size, the last one padded with zeros.

    It is padded to fewer rows where an example's bits are the same. The tensor is a buffer that the next chunk of as
    many rows overwrites.
    """
    traces: dict[int, Trace] = {}
    for start in range(0, len(inputs), rows):
        chunk = inputs[start : start + rows]
        enough = enough_rows(network, len(chunk), rows)
        if len(chunk) < enough:
            chunk = torch.cat([chunk, chunk.new_zeros(enough - len(chunk), chunk.shape[1])])
        if enough not in traces:
            traces[enough] = Trace(network, enough)
        yield start, forward(network, chunk.expand(network.lanes, -1, -1), traces[enough], running=True)


def enough_rows(network: Network, count: int, rows: int) -> int:
    """Rows of a chunk of `count` examples: so few that its products have the bits of a chunk of `rows`."""
    few, like = min(rows, -(-count // ROWS_OF_A_KIND) * ROWS_OF_A_KIND), network.parameters
    shapes = ((layer.inputs, layer.outputs) for layer in network.layout.layers)
    alike = few < rows and all(
        fewer_rows_have_the_bits(few, rows, *shape, like.dtype, str(like.device)) for shape in shapes
    )
    return few if alike else rows

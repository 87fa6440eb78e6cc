"""Made-up steps as training sees them: what measurements are taken of, in any shape, precision and scale."""

from collections.abc import Sequence

import reference
import torch
from torch import Tensor

from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.lane_activations import of_lanes
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import Probe, Step
from mlpexp.kernel.network import Network, Trace, forward

R, B, E = 3, 5, 9
SHAPES = [(4, 3), (4, 4, 4, 4), (4, 6, 6, 6, 5, 5, 3), (2, 7, 1, 7, 7, 1), (3, 5, 2, 5, 2)]


def step_of(
    layout: Layout,
    names: str | Sequence[str | tuple[str, ...]] = "relu",
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
    loss: tuple[str, str] = ("mse", "identity"),
    masks: bool = False,
) -> tuple[Step, Tensor, Tensor]:
    """A step as training sees it, with its inputs and targets; `scale` shrinks δ and with it the gradient.

    `names` are of all hidden layers, of each, or of each and each of the R lanes.
    """
    generator = torch.Generator().manual_seed(layout.size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    rows = normal(R, layout.size + layout.statistics).abs_() if layout.batch_norm else normal(R, layout.size)
    initial = rows + 0.3 * normal(*rows.shape)
    inputs, probed = normal(R, B, layout.widths[0]), normal(E, layout.widths[0])
    targets, probe_targets = (
        reference.draw_targets(*loss, (R, count, layout.widths[-1]), generator).to(dtype) for count in (B, E)
    )
    each = [names] * (layout.depth - 1) if isinstance(names, str) else names
    lanes = [name if isinstance(name, tuple) else (name,) * R for name in each]
    network = Network(layout, [of_lanes([ACTIVATIONS[name] for name in of_layer]) for of_layer in lanes], rows)
    trace = Trace(network, B)
    hidden = layout.layers[:-1]
    dropped = [(normal(R, B, layer.outputs) > 0).to(dtype) * 2 for layer in hidden] if masks else None
    _, delta = Loss(*loss)(forward(network, inputs, trace, dropped), targets)
    gradient = backward(network, trace, delta * scale, torch.empty_like(network.parameters))
    step = Step(network, trace, gradient, -0.01 * gradient, initial, Probe(probed, probe_targets, Loss(*loss)))
    return step, inputs, targets


BY_EXAMPLE = {"gradient_second_moment", "gradient_variance", "gradient_square"}
"""Quantities of single examples' gradients, of which a batch with batch norm has none."""

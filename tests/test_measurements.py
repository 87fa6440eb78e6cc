"""Each measured quantity against a per-layer twin; tiny numbers; blocks of layers; schedules."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import reference
import torch
from torch import Tensor

from mlpexp import training_schema
from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import QUANTITIES, Step, measure
from mlpexp.kernel.network import Network, Trace, forward

R, B = 3, 5
SHAPES = [(4, 3), (4, 4, 4, 4), (4, 6, 6, 6, 5, 5, 3), (2, 7, 1, 7, 7, 1), (3, 5, 2, 5, 2)]


class Alone(Layout):
    """A layout that measures every layer by itself."""

    @property
    def weight_blocks(self) -> list[range]:
        return [range(l, l + 1) for l in range(self.depth)]

    @property
    def unit_blocks(self) -> list[range]:
        return self.weight_blocks


def step_of(
    layout: Layout, activation: str = "relu", scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Step, Tensor, Tensor]:
    """A step as training sees it, with its inputs and targets; `scale` shrinks δ and with it the gradient."""
    generator = torch.Generator().manual_seed(layout.size)
    parameters = torch.randn(R, layout.size, generator=generator, dtype=torch.float64).to(dtype)
    inputs = torch.randn(R, B, layout.widths[0], generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randn(R, B, layout.widths[-1], generator=generator, dtype=torch.float64).to(dtype)
    network = Network(layout, [ACTIVATIONS[activation]] * (layout.depth - 1), parameters)
    trace = Trace(network, B)
    _, delta = Loss("mse", "identity")(forward(network, inputs, trace), targets)
    gradient = backward(network, trace, delta * scale, torch.empty_like(parameters))
    return Step(layout, trace, parameters, gradient, -0.01 * gradient), inputs, targets


def outputs_of(twin: reference.Backward, l: int, activation: str) -> Tensor:
    """σ(z_l), or z_L at the end."""
    return twin.z[l] if l == len(twin.z) - 1 else reference.activation(activation)(twin.z[l])


Twin = Callable[[reference.Backward, list[Tensor], int, str], float]
TWINS: dict[str, Twin] = {
    "gradient_norm": lambda twin, weights, l, _: math.sqrt(sum(g * g for g in twin.weights[l].flatten().tolist())),
    "delta_norm": lambda twin, weights, l, _: math.sqrt(
        np.mean([sum(d * d for d in example) for example in twin.deltas[l].tolist()])
    ),
    "activation_mean": lambda twin, weights, l, name: float(np.mean(outputs_of(twin, l, name).numpy())),
    "activation_std": lambda twin, weights, l, name: float(np.std(outputs_of(twin, l, name).numpy())),
    "activation_zeros": lambda twin, weights, l, name: float(np.mean(outputs_of(twin, l, name).numpy() == 0)),
    "update_ratio": lambda twin, weights, l, _: 0.01 * float(twin.weights[l].norm() / weights[l].norm()),
}


def test_every_quantity_has_a_twin_and_a_place_in_the_schema() -> None:
    assert set(TWINS) == set(QUANTITIES) == set(training_schema.QUANTITIES)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_every_quantity_equals_its_twin(widths: tuple[int, ...], activation: str, bias: bool) -> None:
    layout = Layout(widths, bias)
    step, inputs, targets = step_of(layout, activation)
    found = measure(list(QUANTITIES), step)
    for lane in range(R):
        weights, biases = reference.unpack(layout, step.parameters[lane])
        sigma = reference.activation(activation)
        twin = reference.backward(weights, biases, sigma, "mse", "identity", inputs[lane], targets[lane])
        for name, values in found.items():
            assert values.shape == (R, layout.depth)
            found_by_twin = [TWINS[name](twin, weights, l, activation) for l in range(layout.depth)]
            expected = torch.tensor(found_by_twin, dtype=torch.float64)
            precision = 1e-6 if name == "activation_zeros" else 1e-12  # a share of counts comes in single precision
            torch.testing.assert_close(values[lane].double(), expected, rtol=precision, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_measuring_layers_together_changes_no_bit(widths: tuple[int, ...], dtype: torch.dtype) -> None:
    together, alone = (measure(list(QUANTITIES), step_of(l, dtype=dtype)[0]) for l in (Layout(widths), Alone(widths)))
    assert all(torch.equal(together[name], alone[name]) for name in QUANTITIES)


def test_tiny_gradients_do_not_read_zero() -> None:
    """1e-25² is no float32 number; a plain norm would report a vanished gradient."""
    layout = Layout((4, 6, 6, 3))
    normal, tiny = (step_of(layout, "tanh", scale, torch.float32)[0] for scale in (1.0, 1e-25))
    assert 0 < float(tiny.gradient.abs().max()) < 1e-23
    assert float(torch.linalg.vector_norm(tiny.gradient.square().sum())) == 0
    for name in ("gradient_norm", "delta_norm", "update_ratio"):
        ratio = measure([name], tiny)[name] / measure([name], normal)[name]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 1e-25), rtol=1e-5, atol=0)


def test_a_large_mean_does_not_drown_the_spread() -> None:
    """E x² − (E x)² would be negative here in float32."""
    layout = Layout((4, 6, 3))
    step, _, _ = step_of(layout, "identity", dtype=torch.float32)
    spread = measure(["activation_std"], step)["activation_std"].clone()
    for outputs in step.trace.outputs:
        outputs += 1000.0
    assert float((measure(["activation_std"], step)["activation_std"] / spread - 1).abs().max()) < 1e-3


def test_delta_norm_neither_counts_units_nor_divides_by_the_batch() -> None:
    """Twice the examples, the same: δ_l is each example's own; twice the equal units: √2 more."""
    step, _, _ = step_of(Layout((4, 6, 3)))
    for deltas in step.trace.deltas:
        deltas.fill_(2.0)
    expected = torch.tensor([2 * math.sqrt(6), 2 * math.sqrt(3)], dtype=torch.float64)
    torch.testing.assert_close(measure(["delta_norm"], step)["delta_norm"], expected.expand(R, 2), rtol=1e-14, atol=0)


def test_biases_are_in_no_weight_norm() -> None:
    layout = Layout((4, 6, 6, 6, 3))
    step, _, _ = step_of(layout)
    before = measure(["gradient_norm", "update_ratio"], step)
    assert step.update is not None
    for rows in (step.gradient, step.parameters, step.update):
        for l in range(layout.depth):
            layout.biases(rows, l).fill_(1e6)
    after = measure(["gradient_norm", "update_ratio"], step)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_last_row_has_no_update_to_measure() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    last = Step(step.layout, step.trace, step.parameters, step.gradient, None)
    assert bool(torch.isnan(measure(["update_ratio"], last)["update_ratio"]).all())


def test_one_lane_reads_the_same_alone() -> None:
    layout = Layout((4, 6, 6, 5, 3))
    step, _, _ = step_of(layout, dtype=torch.float32)
    together = measure(list(QUANTITIES), step)
    for lane in range(R):
        own = slice(lane, lane + 1)
        network = Network(layout, [ACTIVATIONS["relu"]] * 3, step.parameters[own])
        trace = Trace(network, B)
        for name, blocks in trace.blocks.items():
            for block, source in zip(blocks, step.trace.blocks[name], strict=True):
                block.copy_(source[:, own])
        assert step.update is not None
        alone = measure(
            list(QUANTITIES), Step(layout, trace, step.parameters[own], step.gradient[own], step.update[own])
        )
        assert all(torch.equal(alone[name][0], together[name][lane]) for name in QUANTITIES)

"""Backpropagation against autograd, in float64, lane by lane."""

import math

import pytest
import reference
import torch
from torch import Tensor

from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.network import Network, Trace, forward

LANES, EXAMPLES = 3, 5
WIDTHS = (4, 6, 6, 5, 1, 7, 3)  # equal neighbours, unequal ones, and a single unit


def layout_of(depth: int, outputs: int, bias: bool) -> Layout:
    return Layout((*WIDTHS[:depth], outputs), bias)


def assert_close_to(found: Tensor, expected: Tensor) -> None:
    """To 1e-12 of the largest number, or to the rounding of a number about 1: δ is a difference of such numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max() + 2.3e-16


def check_gradients(
    activation: str, loss: str, output: str, layout: Layout, outputs: int, masks: list[Tensor] | None = None
) -> None:
    generator = torch.Generator().manual_seed(layout.size)
    parameters = torch.randn(LANES, layout.size, generator=generator, dtype=torch.float64) * 0.7
    inputs = torch.randn(LANES, EXAMPLES, layout.widths[0], generator=generator, dtype=torch.float64)
    targets = reference.draw_targets(loss, output, (LANES, EXAMPLES, outputs), generator)
    network = Network(layout, [ACTIVATIONS[activation]] * (layout.depth - 1), parameters)
    trace = Trace(network, EXAMPLES)
    losses, delta = Loss(loss, output)(forward(network, inputs, trace, masks), targets)
    gradient = backward(network, trace, delta, torch.full_like(parameters, torch.nan))
    for lane in range(LANES):
        weights, biases = reference.unpack(layout, parameters[lane])
        twin = reference.backward(
            weights, biases, reference.activation(activation), loss, output, inputs[lane], targets[lane],
            [mask[lane] for mask in masks or []],
        )  # fmt: skip
        assert_close_to(losses[lane], twin.losses)
        found_weights, found_biases = reference.unpack(layout, gradient[lane])
        for l in range(layout.depth):
            assert_close_to(trace.deltas[l][lane], twin.deltas[l])
            assert_close_to(found_weights[l], twin.weights[l])
            if layout.bias:
                assert_close_to(found_biases[l], twin.biases[l])


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize(("loss", "output"), reference.combinations())
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_and_deltas_equal_autograds(activation: str, loss: str, output: str, depth: int) -> None:
    for bias in (True, False):
        check_gradients(activation, loss, output, layout_of(depth, 3, bias), 3)


@pytest.mark.parametrize(("loss", "output"), reference.combinations(outputs=1))
def test_a_single_output_is_no_exception(loss: str, output: str) -> None:
    check_gradients("tanh", loss, output, layout_of(3, 1, True), 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_dropout_switches_off_gets_no_gradient(activation: str) -> None:
    layout = layout_of(4, 3, True)
    generator = torch.Generator().manual_seed(8)
    shapes = [(LANES, EXAMPLES, layer.outputs) for layer in layout.layers[:-1]]
    masks = [(torch.rand(s, generator=generator, dtype=torch.float64) < 0.5).double() * 2 for s in shapes]
    check_gradients(activation, "cross_entropy", "softmax", layout, 3, masks)


def test_delta_is_the_derivative_of_each_examples_own_loss() -> None:
    """One example at a time, one unit at a time, by a central difference: no autograd, no 1/B."""
    layout = Layout((3, 4, 2))
    generator = torch.Generator().manual_seed(1)
    parameters = torch.randn(2, layout.size, generator=generator, dtype=torch.float64)
    inputs = torch.randn(2, EXAMPLES, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(2, EXAMPLES, 2, generator=generator, dtype=torch.float64)
    network = Network(layout, [ACTIVATIONS["tanh"]], parameters)
    trace = Trace(network, EXAMPLES)
    _, delta = Loss("mse", "identity")(forward(network, inputs, trace), targets)
    backward(network, trace, delta, torch.empty_like(parameters))

    def loss_of(lane: int, example: int, unit: int, nudge: float) -> float:
        weights, biases = reference.unpack(layout, parameters[lane])
        z = inputs[lane, example] @ weights[0] + biases[0]
        z[unit] += nudge
        return float((torch.tanh(z) @ weights[1] + biases[1] - targets[lane, example]).square().sum())

    for lane, example, unit in [(0, 0, 0), (0, 4, 3), (1, 2, 1), (1, 4, 2)]:
        slope = (loss_of(lane, example, unit, 1e-6) - loss_of(lane, example, unit, -1e-6)) / 2e-6
        assert float(trace.deltas[0][lane, example, unit]) == pytest.approx(slope, rel=1e-6)


def test_a_batch_gradient_is_the_mean_of_its_examples_gradients() -> None:
    layout = layout_of(3, 2, True)
    generator = torch.Generator().manual_seed(2)
    parameters = torch.randn(2, layout.size, generator=generator, dtype=torch.float64)
    inputs = torch.randn(2, EXAMPLES, 4, generator=generator, dtype=torch.float64)
    targets = torch.randn(2, EXAMPLES, 2, generator=generator, dtype=torch.float64)

    def gradient_of(rows: slice) -> Tensor:
        network = Network(layout, [ACTIVATIONS["sigmoid"]] * 2, parameters)
        trace = Trace(network, len(range(EXAMPLES)[rows]))
        _, delta = Loss("mae", "identity")(forward(network, inputs[:, rows], trace), targets[:, rows])
        return backward(network, trace, delta, torch.empty_like(parameters))

    singles = torch.stack([gradient_of(slice(i, i + 1)) for i in range(EXAMPLES)])
    assert_close_to(gradient_of(slice(None)), singles.mean(0))
    norms = singles.square().sum(2).sqrt()
    assert (norms > 0).all()


# --- around σ: batch norm, dropout, skip connections, layers of their own kind ---

MIXED = ("tanh", "relu", "sigmoid", "gelu", "softsign")
SHAPES = [
    Layout(widths, bias, norm, skip)
    for widths in ((4, 6, 6, 6, 3), (4, 5, 6, 6, 2, 3))
    for bias in (True, False)
    for norm in (None, BatchNorm("before"), BatchNorm("after"), BatchNorm("after", affine=False, epsilon=0.1))
    for skip in (False, True)
    if norm or skip
]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("layout", SHAPES, ids=str)
def test_gradients_around_the_activation_equal_autograds(layout: Layout, dropout: bool) -> None:
    """Gradients of every parameter, δ_l, and with skip connections ∂ℓ/∂X_l, of torch's own modules."""
    generator = torch.Generator().manual_seed(5)
    rows = torch.randn(LANES, layout.size + layout.statistics, generator=generator, dtype=torch.float64)
    inputs = torch.randn(LANES, EXAMPLES, layout.widths[0], generator=generator, dtype=torch.float64)
    targets = torch.randn(LANES, EXAMPLES, 3, generator=generator, dtype=torch.float64)
    shapes = [(LANES, EXAMPLES, layer.outputs) for layer in layout.layers[:-1]]
    masks = [(torch.rand(s, generator=generator, dtype=torch.float64) < 0.6).double() / 0.6 for s in shapes] * dropout
    network = Network(layout, [ACTIVATIONS[name] for name in MIXED[: layout.depth - 1]], rows)
    trace = Trace(network, EXAMPLES)
    _, delta = Loss("mse", "identity")(forward(network, inputs, trace, masks), targets)
    gradient = backward(network, trace, delta, torch.full_like(network.parameters, torch.nan))
    for lane in range(LANES):
        twin = reference.Perceptron(layout, rows[lane], [reference.activation(name) for name in MIXED])
        z = twin(inputs[lane], [mask[lane] for mask in masks])
        (z - targets[lane]).square().sum(1).mean().backward(retain_graph=True)
        parts = {name: (start, shape) for name, start, shape in layout.named()}
        # the gradient of a bias before a norm is 0: what is left is the rounding of terms as large as δ
        largest = max(float(deltas[lane].abs().max()) for deltas in trace.deltas)
        for name, expected in twin.gradients().items():
            start, shape = parts[name]
            found = gradient[lane, start : start + math.prod(shape)].view(shape)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14 * largest)
        losses = (z - targets[lane]).square().sum()
        deltas = torch.autograd.grad(losses, twin.z, retain_graph=True)
        for l, expected in enumerate(deltas):
            torch.testing.assert_close(trace.deltas[l][lane], expected, rtol=1e-10, atol=1e-12)
        if layout.skip:
            for l, expected in enumerate(torch.autograd.grad(losses, twin.x)):
                torch.testing.assert_close(trace.signals[l][lane], expected, rtol=1e-10, atol=1e-12)


def test_stacked_linear_layers_are_one_linear_layer() -> None:
    layout = Layout((4, 6, 5, 3), bias=False)
    parameters = torch.randn(2, layout.size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs = torch.randn(2, EXAMPLES, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    network = Network(layout, [ACTIVATIONS["identity"]] * 2, parameters)
    z = forward(network, inputs, Trace(network, EXAMPLES))
    for lane in range(2):
        weights, _ = reference.unpack(layout, parameters[lane])
        assert_close_to(z[lane], inputs[lane] @ torch.linalg.multi_dot(weights))

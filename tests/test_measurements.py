"""Each quantity of layers against a twin that goes another way; the noise of gradients over batches.

Twins take one lane, one layer and often one example at a time: autograd, torch.func.vmap, numpy's SVD.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import reference
import torch
from measured_steps import BY_EXAMPLE, SHAPES, B, R, step_of
from torch import Tensor, nn

from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import DOUBLE, QUANTITIES, Step, measure
from mlpexp.kernel.network import Trace, forward
from mlpexp.measurement_catalogue import CATALOGUE


class Twin:
    """One lane of a step, once more in torch.nn, with what autograd says of its batch."""

    def __init__(self, step: Step, lane: int, inputs: Tensor, targets: Tensor, loss: tuple[str, str]) -> None:
        layout = step.layout
        self.names = [sigma.select([lane]).spans[0][1].name for sigma in step.network.activations]
        self.sigmas = [reference.activation(name) for name in self.names]
        self.net, self.now, self.start = (
            reference.Perceptron(layout, rows[lane], self.sigmas)
            for rows in (step.network.rows, step.network.rows, step.initial)
        )
        self.layout, self.loss, self.depth = layout, loss, layout.depth
        masks = [mask[lane] for mask in step.trace.masks]
        losses = reference.example_losses(*loss, self.net(inputs[lane], masks), targets[lane])
        self.z, self.x = self.net.z, [*self.net.x, self.net.z[-1]]
        for l, layer in enumerate(layout.layers[:-1]):
            if masks and not layer.skip:  # outputs are measured before dropout, unless they are added to others
                self.x[l] = self.sigmas[l](self.z[l])
        weights = [linear.weight for linear in self.net.linears]
        self.deltas = torch.autograd.grad(losses.sum(), self.z, retain_graph=True)
        self.signals = torch.autograd.grad(losses.sum(), self.net.x, retain_graph=True) if self.net.x else ()
        self.gradients = [g.T for g in torch.autograd.grad(losses.mean(), weights, retain_graph=True)]
        self.by_example = self._by_example(losses)
        self.probe = step.probe.inputs, step.probe.targets[lane]
        self.now.eval()
        self.start.eval()

    def _by_example(self, losses: Tensor) -> list[Tensor]:
        """Each example's own gradient of W_l and b_l, [B, P_l], one call of autograd an example and layer."""
        return [torch.stack([own_gradient(one, linear) for one in losses]) for linear in self.net.linears]

    def weight(self, l: int, net: reference.Perceptron | None = None) -> Tensor:
        return (net or self.net).linears[l].weight.detach()

    def slope(self, l: int, net: reference.Perceptron) -> Tensor:
        """σ′ at hidden layer l of a network's last forward pass, by autograd, [B, k]."""
        norm = self.layout.batch_norm
        at = net.batch_norms[l](net.z[l]) if norm is not None and norm.placement == "before" else net.z[l]
        leaf = at.detach().requires_grad_()
        return torch.autograd.grad(self.sigmas[l](leaf).sum(), leaf)[0]

    def dead(self, l: int, net: reference.Perceptron) -> Tensor:
        """Which units of hidden layer l pass nothing back for any example of the probe, [k]."""
        net(self.probe[0])
        return (self.slope(l, net) == 0).all(dim=0)


def own_gradient(loss: Tensor, linear: nn.Linear) -> Tensor:
    """A loss's gradient by all parameters of a layer, as a row."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(linear.parameters()), retain_graph=True)])


LARGEST_SLOPE = {"sigmoid": 0.25, "tanh": 1.0, "softsign": 1.0}


def saturation(t: Twin, l: int) -> float:
    if l == t.depth - 1 or t.names[l] not in LARGEST_SLOPE:
        return math.nan
    return float((t.slope(l, t.net).abs() < 0.05 * LARGEST_SLOPE[t.names[l]]).double().mean())


def variance(t: Twin, l: int) -> float:
    """Trace of the sample covariance of the examples' gradients, as numpy has it."""
    return float(np.var(t.by_example[l].numpy(), axis=0, ddof=1).sum())


def squared_expectation(t: Twin, l: int) -> float:
    """Mean of g_i · g_j over all pairs of different examples: unbiased for ‖E g‖², by another formula."""
    g = t.by_example[l].numpy()
    return float(np.mean([g[i] @ g[j] for i in range(B) for j in range(B) if i != j]))


def dead(t: Twin, l: int) -> float:
    return math.nan if l == t.depth - 1 else float(t.dead(l, t.now).double().mean())


def killed(t: Twin, l: int) -> float:
    if l == t.depth - 1:
        return math.nan
    return float((t.dead(l, t.now) & ~t.dead(l, t.start)).double().mean())


def rank(t: Twin, l: int) -> float:
    last = t.now(t.probe[0])
    _, values, _ = np.linalg.svd([*t.now.x, last][l].detach().numpy())
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


TWINS: dict[str, Callable[[Twin, int], float]] = {
    "gradient_norm": lambda t, l: math.sqrt(sum(g * g for g in t.gradients[l].flatten().tolist())),
    "gradient_max": lambda t, l: max(abs(g) for g in t.gradients[l].flatten().tolist()),
    "gradient_zeros": lambda t, l: float(np.mean(t.gradients[l].numpy() == 0)),
    "delta_norm": lambda t, l: math.sqrt(np.mean([sum(d * d for d in example) for example in t.deltas[l].tolist()])),
    "signal_norm": lambda t, l: math.nan if l == t.depth - 1 else float(t.signals[l].norm()) / math.sqrt(B),
    "gradient_second_moment": lambda t, l: float(t.by_example[l].square().sum(dim=1).mean()),
    "gradient_variance": variance,
    "gradient_square": squared_expectation,
    "activation_mean": lambda t, l: float(np.mean(t.x[l].detach().numpy())),
    "activation_std": lambda t, l: float(np.std(t.x[l].detach().numpy())),
    "activation_zeros": lambda t, l: float(np.mean(t.x[l].detach().numpy() == 0)),
    "preactivation_square": lambda t, l: float(np.mean(np.square(t.z[l].detach().numpy()))),
    "saturation": saturation,
    "update_ratio": lambda t, l: 0.01 * float(t.gradients[l].norm() / t.weight(l).norm()),
    "weight_norm": lambda t, l: math.sqrt(sum(w * w for w in t.weight(l).flatten().tolist())),
    "weight_max": lambda t, l: max(abs(w) for w in t.weight(l).flatten().tolist()),
    "weight_distance": lambda t, l: float(np.linalg.norm((t.weight(l) - t.weight(l, t.start)).numpy())),
    "weight_spectral_norm": lambda t, l: math.sqrt(np.linalg.eigvalsh(t.weight(l).numpy() @ t.weight(l).numpy().T)[-1]),
    "dead_units": dead,
    "killed_units": killed,
    "effective_rank": rank,
}
"""Quantity [R, L] → its value for one lane and layer."""


def test_every_quantity_has_a_twin_and_a_place_in_the_catalogue() -> None:
    per_layer = {name for name, one in CATALOGUE.items() if one.shape == "[R, L]"}
    assert set(TWINS) == per_layer
    assert set(QUANTITIES) == {name for name, one in CATALOGUE.items() if one.kind != "scores"}
    assert set(QUANTITIES) >= DOUBLE


def agree(step: Step, inputs: Tensor, targets: Tensor, loss: tuple[str, str], left_out: set[str]) -> None:
    """Every quantity of layers equals its twin in every lane."""
    names = [name for name in TWINS if name not in left_out]
    found = measure(names, step)
    for lane in range(R):
        twin = Twin(step, lane, inputs, targets, loss)
        for name, values in found.items():
            assert values.shape == (R, step.layout.depth)
            expected = torch.tensor([TWINS[name](twin, l) for l in range(twin.depth)], dtype=torch.float64)
            share = CATALOGUE[name].unit == "share"  # of counts, which come in single precision
            torch.testing.assert_close(
                values[lane].double(), expected, rtol=1e-6 if share else 1e-9, atol=1e-12, equal_nan=True, msg=name
            )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "softsign"])
def test_every_quantity_equals_its_twin(widths: tuple[int, ...], name: str, bias: bool) -> None:
    step, inputs, targets = step_of(Layout(widths, bias), name)
    hidden = {"signal_norm", *(("dead_units", "killed_units") if len(widths) == 2 else ())}
    agree(step, inputs, targets, ("mse", "identity"), hidden)


@pytest.mark.parametrize("names", ["tanh relu sigmoid silu", "relu softsign softsign tanh"])
def test_layers_of_several_kinds_with_skips_and_dropout(names: str) -> None:
    step, inputs, targets = step_of(Layout((4, 6, 6, 6, 5, 3), skip=True), names.split(), masks=True)
    agree(step, inputs, targets, ("mse", "identity"), set())


def test_lanes_of_several_kinds() -> None:
    names = [("tanh", "relu", "softsign"), ("relu", "relu", "sigmoid"), ("gelu", "tanh", "tanh"), ("softsign",) * R]
    step, inputs, targets = step_of(Layout((4, 6, 6, 6, 5, 3), skip=True), names, masks=True)
    agree(step, inputs, targets, ("mse", "identity"), set())


@pytest.mark.parametrize("placement", ["before", "after"])
def test_with_batch_norm_the_probe_takes_running_statistics(placement: Literal["before", "after"]) -> None:
    layout = Layout((4, 6, 6, 5, 3), batch_norm=BatchNorm(placement))
    step, inputs, targets = step_of(layout, ["tanh", "relu", "relu"])
    agree(step, inputs, targets, ("mse", "identity"), {"signal_norm", *BY_EXAMPLE})


def test_second_moments_equal_those_of_per_example_gradients_by_vmap() -> None:
    """The rule of the outer product against gradients that are materialised."""
    step, inputs, targets = step_of(Layout((4, 6, 6, 3)), "tanh")
    for lane in range(R):
        net = reference.Perceptron(step.layout, step.network.rows[lane], [torch.tanh] * 2)
        parameters: dict[str, Tensor] = dict(net.named_parameters())

        def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor, net: nn.Module = net) -> Tensor:
            z: Tensor = torch.func.functional_call(net, parameters, x[None])
            return (z[0] - y).square().sum()

        each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, inputs[lane], targets[lane])
        squares = {name: g.flatten(1).square().sum(dim=1).mean() for name, g in each.items()}
        expected = [squares[f"layers.{l}.weight"] + squares[f"layers.{l}.bias"] for l in range(3)]
        found = measure(["gradient_second_moment"], step)["gradient_second_moment"][lane]
        torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=1e-12, atol=0)


def test_the_noise_estimates_are_unbiased_over_batches() -> None:
    """All batches of two of six examples: their averages are the variance and the squared mean of the six."""
    layout = Layout((3, 4, 2))
    step, inputs, targets = step_of(layout, "tanh")
    x, y = torch.cat([inputs[0], inputs[1, :1]]), torch.cat([targets[0], targets[1, :1]])
    network = step.network.select(torch.tensor([0]))
    found = []
    for i in range(6):
        for j in (j for j in range(6) if j != i):
            trace, pair = Trace(network, 2), torch.tensor([i, j])
            _, delta = Loss("mse", "identity")(forward(network, x[pair][None], trace), y[pair][None])
            gradient = backward(network, trace, delta, torch.empty_like(network.parameters))
            own = replace(step, network=network, trace=trace, gradient=gradient)
            found.append([v[0] for v in measure(["gradient_variance", "gradient_square"], own).values()])
    twin = Twin(step, 0, x.expand(R, -1, -1), y.expand(R, -1, -1), ("mse", "identity"))
    for l in range(2):
        g = twin.by_example[l].numpy()
        assert float(np.mean([float(one[0][l]) for one in found])) == pytest.approx(g.var(axis=0, ddof=1).sum())
        total = np.square(g.mean(axis=0)).sum() - g.var(axis=0, ddof=1).sum() / 6  # drawn without replacement
        assert float(np.mean([float(one[1][l]) for one in found])) == pytest.approx(total)


def test_a_batch_of_one_has_no_variance() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    step.trace.rows = 1
    for name, values in measure(["gradient_variance", "gradient_square"], step).items():
        assert bool(torch.isnan(values).all()), name

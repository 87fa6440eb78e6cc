"""Each measured quantity against a twin that goes another way; tiny numbers; blocks of layers; what a lane reads alone.

Twins take one lane, one layer and often one example at a time: autograd, torch.func.vmap, numpy's histograms and SVD.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from torch import Tensor, nn

from mlpexp.kernel.activations import ACTIVATIONS, activation
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import DOUBLE, QUANTITIES, Probe, Step, measure
from mlpexp.kernel.measurements.histograms import counted
from mlpexp.kernel.measurements.spectra import JACOBIAN_EXAMPLES
from mlpexp.kernel.network import Network, Trace, forward
from mlpexp.measurement_catalogue import CATALOGUE

R, B, E = 3, 5, 9
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
    layout: Layout,
    names: str | list[str] = "relu",
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
    loss: tuple[str, str] = ("mse", "identity"),
    masks: bool = False,
) -> tuple[Step, Tensor, Tensor]:
    """A step as training sees it, with its inputs and targets; `scale` shrinks δ and with it the gradient."""
    generator = torch.Generator().manual_seed(layout.size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    rows = normal(R, layout.size + layout.statistics).abs_() if layout.batch_norm else normal(R, layout.size)
    initial = rows + 0.3 * normal(*rows.shape)
    inputs, probed = normal(R, B, layout.widths[0]), normal(E, layout.widths[0])
    targets, probe_targets = (
        reference.draw_targets(*loss, (R, count, layout.widths[-1]), generator).to(dtype) for count in (B, E)
    )
    each = names if isinstance(names, list) else [names] * (layout.depth - 1)
    network = Network(layout, [ACTIVATIONS[name] for name in each], rows)
    trace = Trace(network, B)
    hidden = layout.layers[:-1]
    dropped = [(normal(R, B, layer.outputs) > 0).to(dtype) * 2 for layer in hidden] if masks else None
    _, delta = Loss(*loss)(forward(network, inputs, trace, dropped), targets)
    gradient = backward(network, trace, delta * scale, torch.empty_like(network.parameters))
    step = Step(network, trace, gradient, -0.01 * gradient, initial, Probe(probed, probe_targets, Loss(*loss)))
    return step, inputs, targets


class Twin:
    """One lane of a step, once more in torch.nn, with what autograd says of its batch."""

    def __init__(self, step: Step, lane: int, inputs: Tensor, targets: Tensor, loss: tuple[str, str]) -> None:
        layout = step.layout
        self.names = [a.name for a in step.network.activations]
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
BY_EXAMPLE = {"gradient_second_moment", "gradient_variance", "gradient_square"}


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


@pytest.mark.parametrize("placement", ["before", "after"])
def test_with_batch_norm_the_probe_takes_running_statistics(placement: str) -> None:
    layout = Layout((4, 6, 6, 5, 3), batch_norm=BatchNorm(placement))  # type: ignore[arg-type]
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


# --- histograms ---


@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_histograms_equal_numpys(widths: tuple[int, ...]) -> None:
    layout = Layout(widths)
    step, _, _ = step_of(layout, "relu")
    found = measure(["gradient_histogram", "activation_histogram", "delta_histogram"], step)
    for lane in range(R):
        for l in range(layout.depth):
            gradient = layout.weight(step.gradient, l)[lane].numpy()
            values = {
                "gradient_histogram": np.log10(np.abs(gradient[gradient != 0])),
                "activation_histogram": step.trace.outputs[l][lane].numpy(),
                "delta_histogram": step.trace.deltas[l][lane].numpy(),
            }
            for name, own in values.items():
                low, high, counts = (found[name][lane, l, i].numpy() for i in (0, 1, slice(2, None)))
                if not own.size:
                    assert np.isnan(found[name][lane, l].numpy()).all()
                    continue
                assert (low, high) == pytest.approx((own.min(), own.max()), rel=1e-12)
                expected = np.histogram(own, 32)[0] if low < high else [own.size] + [0] * 31
                assert counts.tolist() == list(expected)


def test_what_is_not_finite_is_not_counted() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    step.trace.outputs[0][0, 0, 0], step.trace.outputs[0][0, 1, 1] = torch.nan, torch.inf
    step.trace.outputs[1][:] = torch.nan
    found = measure(["activation_histogram"], step)["activation_histogram"]
    assert float(found[0, 0, 2:].sum()) == B * 6 - 2
    assert bool(torch.isfinite(found[0, 0]).all())
    assert bool(torch.isnan(found[:, 1]).all())


@pytest.mark.parametrize("flushed", [False, True], ids=["", "denormals flushed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_range_is_counted_and_every_finite_value_once(dtype: torch.dtype, flushed: bool) -> None:
    """Down to denormals, whose range has no finite inverse, and up to the largest numbers, whose range overflows."""
    limits = torch.finfo(dtype)
    middles = torch.arange(-31, 32, 2, dtype=dtype) / 32  # of the bins
    values = torch.cat([middles, middles.new_tensor([-1, 1])]).expand(1, 3, -1).contiguous()
    with reference.flushed() if flushed else nullcontext():
        for scale in (0.0, limits.smallest_normal / 1e4, limits.smallest_normal, 4 * limits.smallest_normal, 1.0):
            assert counted(values * scale)[0, :, 2:].sum(dim=1).tolist() == [34.0] * 3
        found = counted(values * limits.max)[0, 0]
    assert found[:2].tolist() == [-limits.max, limits.max]
    assert found[2:].tolist() == [2.0] + [1.0] * 30 + [2.0]


def test_the_least_of_two_zeros_does_not_depend_on_where_it_lies() -> None:
    """−0 and 0 are equal, so amin tells whichever it meets last, and that depends on vectors and their tails."""
    zeros = torch.zeros(1, 7, 99)
    zeros[:, :, ::3] = -0.0
    for n in range(1, 100):
        found = counted(zeros[:, :, -n:])
        assert not bool(torch.signbit(found).any())
        assert found[0, 0, :3].tolist() == [0.0, 0.0, float(n)]


# --- spectra ---


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (Layout((4, 6, 3)), ["tanh"]),
        (Layout((4, 6, 5, 5, 3), skip=True), ["tanh", "relu", "gelu"]),
        (Layout((7, 5, 5, 3), bias=False, batch_norm=BatchNorm("before")), ["relu", "tanh"]),
        (Layout((2, 5, 5, 3), batch_norm=BatchNorm("after", affine=False)), ["silu", "tanh"]),
    ],
    ids=["plain", "skip", "norm before", "norm after"],
)
def test_jacobians_equal_autograds(layout: Layout, names: list[str]) -> None:
    step, _, _ = step_of(layout, names)
    found = measure(["jacobian_singular_values"], step)["jacobian_singular_values"]
    assert found.shape == (R, min(layout.widths[0], layout.widths[-2]))
    for lane in range(R):
        net = reference.Perceptron(layout, step.network.rows[lane], [reference.activation(name) for name in names])
        net.eval()

        def last_hidden(x: Tensor, net: reference.Perceptron = net) -> Tensor:
            net(x[None])
            return net.x[-1][0]

        inputs = step.probe.inputs[:JACOBIAN_EXAMPLES]
        jacobians = [torch.autograd.functional.jacobian(last_hidden, x) for x in inputs]
        values = [np.linalg.svd(j.numpy(), compute_uv=False) for j in jacobians]
        np.testing.assert_allclose(found[lane].numpy(), np.mean(values, axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "softsign"])
@pytest.mark.parametrize("loss", reference.combinations(), ids=str)
def test_sharpness_equals_the_largest_eigenvalue_of_autograds_hessian(name: str, loss: tuple[str, str]) -> None:
    for layout in (Layout((3, 4, 4, 3), skip=True), Layout((3, 4, 3), bias=False), Layout((3, 3))):
        step, _, _ = step_of(layout, name, loss=loss)
        found = measure(["sharpness"], step)["sharpness"]
        for lane in range(R):
            values = np.linalg.eigvalsh(hessian(step, lane, name).numpy())
            assert float(found[lane]) == pytest.approx(values[-1], rel=2e-3, abs=1e-9)


def hessian(step: Step, lane: int, name: str) -> Tensor:
    """[P, P] by double backward."""
    layout, probe = step.layout, step.probe
    sigma = reference.activation(name)

    def mean_loss(row: Tensor) -> Tensor:
        x = probe.inputs
        for l, (weight, bias) in enumerate(pairs(layout, row)):
            z = x @ weight + bias
            if l == layout.depth - 1:
                return reference.example_losses(probe.loss.name, probe.loss.output, z, probe.targets[lane]).mean()
            x = sigma(z) + x if layout.layers[l].skip else sigma(z)
        raise AssertionError

    found: Tensor = torch.autograd.functional.hessian(mean_loss, step.network.parameters[lane])
    return found


def pairs(layout: Layout, row: Tensor) -> list[tuple[Tensor, Tensor | float]]:
    weights, biases = reference.unpack(layout, row)
    return [(w, biases[l] if biases else 0.0) for l, w in enumerate(weights)]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "parameters", [{}, {"elu": {"alpha": 0.4}, "leaky_relu": {"negative_slope": 0.2}}], ids=["", "own"]
)
def test_second_derivatives_equal_autograds(name: str, parameters: dict[str, dict[str, float]]) -> None:
    own = activation(name, **parameters.get(name, {}))
    z = torch.cat([torch.linspace(-9, 9, 200), torch.tensor([-40.0, 40.0, 1e-7])]).double().requires_grad_()
    twin = {"elu": lambda z: nn.functional.elu(z, 0.4), "leaky_relu": lambda z: nn.functional.leaky_relu(z, 0.2)}
    sigma = twin[name] if name in parameters else reference.activation(name)
    expected = torch.zeros_like(z)
    (slope,) = torch.autograd.grad(sigma(z).sum(), z, create_graph=True)
    if slope.requires_grad:
        expected = torch.autograd.grad(slope.sum(), z, allow_unused=True)[0]
        expected = torch.zeros_like(z) if expected is None else expected
    at = z.detach()
    x = own.value(at, torch.empty_like(at))
    assert own.second_derivative is not None
    torch.testing.assert_close(own.second_derivative(at, x, torch.empty_like(at)), expected, rtol=1e-9, atol=1e-13)


def test_what_is_not_finite_has_no_spectrum_and_disturbs_nobody() -> None:
    names = ["weight_spectral_norm", "effective_rank", "jacobian_singular_values", "sharpness"]
    step, _, _ = step_of(Layout((4, 6, 6, 3)), "tanh")
    before = measure(names, step)
    step.network.rows[1, :] = torch.nan
    step.__dict__.pop("probed")
    after = measure(names, step)
    for name in names:
        assert bool(torch.isnan(after[name][1]).all()), name
        assert torch.equal(after[name][[0, 2]], before[name][[0, 2]]), name


# --- what holds for all ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_measuring_layers_together_changes_no_bit(widths: tuple[int, ...], dtype: torch.dtype) -> None:
    names = [name for name in QUANTITIES if name not in ("signal_norm", *((*HIDDEN,) if len(widths) == 2 else ()))]
    together, alone = (measure(names, step_of(l, dtype=dtype)[0]) for l in (Layout(widths), Alone(widths)))
    for name in names:
        torch.testing.assert_close(together[name], alone[name], rtol=0, atol=0, equal_nan=True)


HIDDEN = ("dead_units", "killed_units", "jacobian_singular_values")


def test_tiny_gradients_do_not_read_zero() -> None:
    """1e-25² is no float32 number; a plain norm would report a vanished gradient."""
    layout = Layout((4, 6, 6, 3))
    normal, tiny = (step_of(layout, "tanh", scale, torch.float32)[0] for scale in (1.0, 1e-25))
    assert 0 < float(tiny.gradient.abs().max()) < 1e-23
    assert float(torch.linalg.vector_norm(tiny.gradient.square().sum())) == 0
    for name in ("gradient_norm", "gradient_max", "delta_norm", "update_ratio"):
        ratio = measure([name], tiny)[name] / measure([name], normal)[name]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 1e-25), rtol=1e-5, atol=0)
    for name in BY_EXAMPLE:
        ratio = measure([name], tiny)[name] / measure([name], normal)[name]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 1e-50), rtol=1e-4, atol=0)
    shift = [measure(["gradient_histogram"], step)["gradient_histogram"][:, :, :2] for step in (normal, tiny)]
    torch.testing.assert_close(shift[1] + 25, shift[0], rtol=0, atol=1e-4)


def test_a_large_mean_does_not_drown_the_spread() -> None:
    """E x² − (E x)² would be negative here in float32."""
    layout = Layout((4, 6, 3))
    step, _, _ = step_of(layout, "identity", dtype=torch.float32)
    spread = measure(["activation_std"], step)["activation_std"].clone()
    for outputs in step.trace.outputs:
        outputs += 1000.0
    step = replace(step)  # without what was kept
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
    names = [name for name in QUANTITIES if name.startswith(("weight_", "gradient_norm", "gradient_max", "gradient_h"))]
    step, _, _ = step_of(layout)
    before = measure([*names, "update_ratio"], step)
    assert step.update is not None
    for rows in (step.gradient, step.network.rows, step.update, step.initial):
        for l in range(layout.depth):
            layout.biases(rows, l).fill_(1e6)
    after = measure([*names, "update_ratio"], replace(step))  # without what was kept
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_last_row_has_no_update_to_measure() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    last = replace(step, update=None)
    assert bool(torch.isnan(measure(["update_ratio"], last)["update_ratio"]).all())


def test_a_unit_born_off_is_not_killed_by_training() -> None:
    """Of four ReLU units one is off from the start, one is switched off, one switched on, one stays on."""
    layout = Layout((1, 4, 1))
    on, off = torch.tensor([[1.0, 1.0, 1.0, 1.0]]), -100.0
    rows = torch.cat([on, torch.tensor([[off, off, 5.0, 5.0]]), torch.ones(1, 5)], dim=1)
    start = torch.cat([on, torch.tensor([[off, 5.0, off, 5.0]]), torch.ones(1, 5)], dim=1)
    network = Network(layout, [ACTIVATIONS["relu"]], rows)
    probe = Probe(torch.linspace(-1, 1, 7)[:, None], torch.zeros(1, 7, 1), Loss("mse", "identity"))
    step = Step(network, Trace(network, 1), torch.zeros_like(rows), None, start, probe)
    assert measure(["dead_units"], step)["dead_units"][0, 0] == 0.5
    assert measure(["killed_units"], step)["killed_units"][0, 0] == 0.25
    begin = replace(step, network=Network(layout, [ACTIVATIONS["relu"]], start))
    assert [float(v[0, 0]) for v in measure(["dead_units", "killed_units"], begin).values()] == [0.5, 0.0]


def test_one_lane_reads_the_same_alone() -> None:
    layout = Layout((4, 6, 6, 5, 3), skip=True)
    step, _, _ = step_of(layout, ["tanh", "relu", "sigmoid"], dtype=torch.float32)
    together = measure(list(QUANTITIES), step)
    for lane in range(R):
        own = slice(lane, lane + 1)
        network = step.network.select(torch.tensor([lane]))
        trace = Trace(network, B)
        trace.inputs = [x[own] for x in step.trace.inputs]
        for name, blocks in trace.blocks.items():
            for block, source in zip(blocks, step.trace.blocks[name], strict=True):
                block.copy_(source[:, own])
        for name in ("activated", "signals"):
            for mine, source in zip(getattr(trace, name), getattr(step.trace, name), strict=True):
                mine.copy_(source[own])
        assert step.update is not None
        probe = replace(step.probe, targets=step.probe.targets[own])
        alone = measure(
            list(QUANTITIES), Step(network, trace, step.gradient[own], step.update[own], step.initial[own], probe)
        )
        for name in QUANTITIES:
            torch.testing.assert_close(alone[name][0], together[name][lane], rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0, 1e4])
def test_the_spread_around_any_mean_is_that_of_doubles(offset: float) -> None:
    step, _, _ = step_of(Layout((4, 6, 6, 3)), "tanh", dtype=torch.float32)
    for block in step.trace.blocks["outputs"]:
        block += offset
    expected = [[x[lane].double().std(unbiased=False).item() for x in step.trace.outputs] for lane in range(R)]
    rounded = offset * 2e-7  # of the mean, to the training's precision
    np.testing.assert_allclose(QUANTITIES["activation_std"](step).numpy(), expected, rtol=1e-6, atol=rounded)

"""Singular values of Jacobians and the Hessian's largest eigenvalue against autograd's own, and σ″ on the way there."""

import numpy as np
import pytest
import reference
import torch
from measured_steps import R, step_of
from torch import Tensor, nn

from mlpexp.kernel.activations import ACTIVATIONS, activation
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.measurements import Step, measure
from mlpexp.kernel.measurements.spectra import JACOBIAN_EXAMPLES


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

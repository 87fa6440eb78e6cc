"""Activations against torch's own functions, their derivatives against autograd, and their edges."""

import pytest
import reference
import torch
from torch import Tensor

from mlpexp.kernel.activations import ACTIVATIONS, activation

POINTS = torch.cat([torch.linspace(-12, 12, 4001, dtype=torch.float64), torch.tensor([1e-300, -1e-12, 3e-5, 0.0])])


def value(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].value(z, torch.full_like(z, torch.nan))


def derivative(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].derivative(z, value(name, z), torch.full_like(z, torch.nan))


def test_the_schema_offers_what_exists() -> None:
    assert sorted(reference.ACTIVATION_NAMES) == sorted(ACTIVATIONS)
    assert all(name == one.name for name, one in ACTIVATIONS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_equals_torchs(name: str) -> None:
    torch.testing.assert_close(value(name, POINTS), reference.activation(name)(POINTS), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_equals_autograds(name: str) -> None:
    z = POINTS[POINTS != 0].clone().requires_grad_()  # kinks have their own test
    (expected,) = torch.autograd.grad(reference.activation(name)(z).sum(), z)
    torch.testing.assert_close(derivative(name, z.detach()), expected, rtol=1e-11, atol=1e-15)  # 1 − x² on both sides


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_write_into_the_buffer_and_leave_z_alone(name: str, dtype: torch.dtype) -> None:
    z = torch.linspace(-3, 3, 24, dtype=dtype).view(2, 4, 3)
    before, out, slope = z.clone(), torch.full_like(z, torch.nan), torch.full_like(z, torch.nan)
    x = ACTIVATIONS[name].value(z, out)
    kept = x.clone()
    found = ACTIVATIONS[name].derivative(z, x, slope)
    assert x.data_ptr() == out.data_ptr()
    assert found.data_ptr() == slope.data_ptr()
    assert torch.equal(z, before)
    assert torch.equal(x, kept)
    assert x.dtype == found.dtype == dtype
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_values_are_torchs_and_nothing_is_nan(name: str, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e30, -1e4, -800.0, -89.0, -44.0, 44.0, 89.0, 800.0, 1e4, 1e30], dtype=dtype)
    torch.testing.assert_close(value(name, z), reference.activation(name)(z), rtol=1e-6, atol=1e-37)
    slopes = derivative(name, z)
    assert bool(torch.isfinite(slopes).all())
    assert bool((slopes >= 0).all())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_not_a_number_stays_so(name: str) -> None:
    assert bool(torch.isnan(value(name, torch.tensor([torch.nan, torch.nan]))).all())


def test_tanh_keeps_its_relative_precision_near_zero() -> None:
    z = torch.logspace(-37, 1, 2000, dtype=torch.float64).float()
    for sign in (1, -1):
        exact = torch.tanh(sign * z.double())
        assert float(((value("tanh", sign * z).double() - exact) / exact).abs().max()) < 2.5e-7


def test_kinks_take_the_value_from_below() -> None:
    zero = torch.tensor([0.0, -0.0])
    assert derivative("relu", zero).tolist() == [0.0, 0.0]
    assert derivative("leaky_relu", zero).tolist() == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_leaky_relu_takes_its_slope_from_the_config(slope: float) -> None:
    leaky, out = activation("leaky_relu", slope), torch.empty_like(POINTS)
    x = leaky.value(POINTS, out)
    assert torch.equal(x, torch.where(POINTS > 0, POINTS, POINTS * slope))
    expected = torch.where(POINTS > 0, 1.0, torch.tensor(slope, dtype=torch.float64))
    assert torch.equal(leaky.derivative(POINTS, x, torch.empty_like(x)), expected)


def test_leaky_relu_without_a_slope_has_a_hundredth() -> None:
    minus_one = torch.tensor([-1.0], dtype=torch.float64)
    for one in (activation("leaky_relu"), ACTIVATIONS["leaky_relu"]):
        assert one.value(minus_one, torch.empty_like(minus_one)).tolist() == [-0.01]

"""Activations, each found by itself: against closed forms and autograd in float64, in relative precision, at the edges.

A new file of kernel/activations is tested by every test here; its twin is torch.nn.functional's function of that name,
or one in tests/reference.py.
"""

import pytest
import reference
import torch
from activation_values import BELOW_ONCE, DTYPES, POINTS, SELU, derivative, exact, far_and_near, value
from torch import Tensor

from mlpexp.kernel.activations import ACTIVATIONS, Activation

# --- values and derivatives ---


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_equals_torchs(name: str) -> None:
    expected = reference.activation(name)(POINTS)
    torch.testing.assert_close(value(name, POINTS), expected, rtol=1e-13, atol=1e-15 if name == "gelu" else 1e-300)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_equals_autograds(name: str) -> None:
    z = POINTS[POINTS != 0].clone().requires_grad_()  # kinks have their own test
    (expected,) = torch.autograd.grad(reference.activation(name)(z).sum(), z)
    torch.testing.assert_close(derivative(name, z.detach()), expected, rtol=1e-11, atol=2e-15)  # 1 − x² on both sides


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_keep_their_relative_precision_everywhere(name: str, dtype: torch.dtype) -> None:
    """Within 8 units in the last place, from 1e-36 to 100; gelu adds what a rounding of z makes of exp(−z²/2)."""
    z, least = far_and_near(dtype), 1e-36 if dtype == torch.float32 else 1e-300
    expected, _ = exact(name, z)
    kept = expected.abs() > least
    errors = (value(name, z).double() - expected).abs()[kept] / expected.abs()[kept]
    units = 8 + (1.5 * z.double()[kept].square() if name == "gelu" else 0.0)
    assert float((errors / torch.finfo(dtype).eps / units).max()) < 1
    assert float(value(name, z[~kept]).abs().sum()) <= least * len(z)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_are_right_to_a_few_units_of_one(name: str, dtype: torch.dtype) -> None:
    z = far_and_near(dtype)
    _, expected = exact(name, z)
    most = 20 if name == "silu" else 6  # z(1 − s), where 1 − s is a rounding
    assert float((derivative(name, z).double() - expected).abs().max()) < most * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", ["softplus", "softsign", "elu", "selu", "gelu", "silu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_keep_their_relative_precision_in_the_tail(name: str, dtype: torch.dtype) -> None:
    z, least = far_and_near(dtype), 1e-34 if dtype == torch.float32 else 1e-298
    z = z[(z > 0) | (z < -2)] if name in BELOW_ONCE else z  # they cross zero
    _, expected = exact(name, z)
    kept = expected.abs() > least
    errors = (derivative(name, z).double() - expected).abs()[kept] / expected.abs()[kept]
    units = 8 + (1.5 * z.double()[kept].square() if name == "gelu" else z.double()[kept].abs().clamp(max=12))
    assert float((errors / torch.finfo(dtype).eps / units).max()) < 1


def test_tanh_keeps_its_relative_precision_near_zero() -> None:
    z = torch.logspace(-37, 1, 2000, dtype=torch.float64).float()
    for sign in (1, -1):
        exactly = torch.tanh(sign * z.double())
        assert float(((value("tanh", sign * z).double() - exactly) / exactly).abs().max()) < 2.5e-7


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_monotone_never_falls_but_by_rounding(name: str, dtype: torch.dtype) -> None:
    z = far_and_near(dtype).sort().values
    x = value(name, z)
    falls = x.diff() < -8 * torch.finfo(dtype).eps * x[1:].abs()
    assert bool(falls.any()) == (name in BELOW_ONCE)
    assert bool((derivative(name, z) < 0).any()) == (name in BELOW_ONCE)


# --- edges ---


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_far_out_values_are_torchs_and_nothing_is_nan(name: str, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e30, -1e4, -800.0, -100.0, -89.0, -44.0, 44.0, 89.0, 100.0, 800.0, 1e4, 1e30], dtype=dtype)
    torch.testing.assert_close(value(name, z), reference.activation(name)(z), rtol=1e-6, atol=1e-36)
    slopes = derivative(name, z)
    assert bool(torch.isfinite(slopes).all())
    assert bool((slopes >= (-1e-15 if name in BELOW_ONCE else 0)).all())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_infinity_stands_the_limit(name: str, dtype: torch.dtype) -> None:
    infinite, far = (torch.tensor([-most, most], dtype=dtype) for most in (torch.inf, torch.finfo(dtype).max / 4))
    assert torch.equal(derivative(name, infinite), derivative(name, far))
    limits = value(name, far)
    assert torch.equal(value(name, infinite), torch.where(limits.abs() > 1e20, infinite, limits))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flushed", [False, True])
def test_denormal_inputs_are_as_good_as_zero(name: str, dtype: torch.dtype, flushed: bool) -> None:
    tiny = torch.finfo(dtype).tiny
    z = torch.tensor([tiny / 3, -tiny / 3, tiny, -tiny, 1.7 * tiny], dtype=dtype)
    torch.set_flush_denormal(flushed)
    x, slopes = value(name, z), derivative(name, z)
    torch.set_flush_denormal(False)
    near, sides = exact(name, torch.tensor([0.0, 1e-30]))  # at a kink, the slope of either side
    torch.testing.assert_close(x.double(), near[:1].expand(5), rtol=1e-6, atol=3 * tiny)
    assert bool(((slopes >= sides.amin(dim=0) * (1 - 1e-6)) & (slopes <= sides.amax(dim=0) * (1 + 1e-6))).all())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_so(name: str, dtype: torch.dtype) -> None:
    assert bool(torch.isnan(value(name, torch.tensor([torch.nan, torch.nan], dtype=dtype))).all())


def test_kinks_take_the_value_from_below() -> None:
    zero = torch.tensor([0.0, -0.0], dtype=torch.float64)
    expected = {"relu": 0.0, "leaky_relu": 0.01, "elu": 1.0, "selu": SELU[1]}
    for name, slope in expected.items():
        assert derivative(name, zero).tolist() == pytest.approx([slope, slope], rel=1e-15)


# --- in place, and to the bit ---


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
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


def both(one: Activation, z: Tensor, offset: int) -> Tensor:
    """σ(z) and σ′(z) of z [n] in buffers that begin `offset` numbers after an aligned address."""
    n = len(z)
    z, x, slope = (torch.empty(n + 32, dtype=z.dtype)[offset : offset + n].copy_(z) for _ in range(3))
    x = one.value(z, x)
    return torch.stack([x, one.derivative(z, x, slope)])


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_depend_on_neither_place_nor_company(name: str, dtype: torch.dtype) -> None:
    z = torch.cat(
        [3 * torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=dtype), far_and_near(dtype)[::97]]
    )
    whole = both(ACTIVATIONS[name], z, 0)
    for offset in range(1, 17):
        assert torch.equal(both(ACTIVATIONS[name], z, offset), whole)
    for start in range(0, len(z), 13):
        for count in (1, 3, 8, 33):
            part = both(ACTIVATIONS[name], z[start : start + count], start % 17)
            assert torch.equal(part, whole[:, start : start + count])

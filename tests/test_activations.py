"""Activations, each found by itself: against closed forms and autograd in float64, in relative precision, at the edges.

A new file of kernel/activations is tested by every test here; its twin is torch.nn.functional's function of that name,
or one in tests/reference.py.
"""

import inspect
import math
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import reference
import torch
from numpy.typing import NDArray
from runs_fixtures import compose
from scipy import integrate, special
from torch import Tensor

from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.config import fingerprint
from mlpexp.kernel.activations import ACTIVATIONS, Activation, activation
from mlpexp.model_schema import PARAMETERS

Numbers = NDArray[np.float64]

POINTS = torch.cat([torch.linspace(-12, 12, 4001, dtype=torch.float64), torch.tensor([1e-300, -1e-12, 3e-5, 0.0])])
BELOW_ONCE = {"gelu", "silu"}
"""Fall before they rise; all others never fall."""
DTYPES = [torch.float32, torch.float64]


def value(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].value(z, torch.full_like(z, torch.nan))


def derivative(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].derivative(z, value(name, z), torch.full_like(z, torch.nan))


def far_and_near(dtype: torch.dtype, least: float = 1e-36, most: float = 100.0) -> Tensor:
    """Numbers of both signs, evenly spaced in size and in value."""
    sizes = torch.logspace(math.log10(least), math.log10(most), 4001, dtype=torch.float64)
    even = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    return torch.cat([sizes, -sizes, even[even != 0]]).to(dtype)


# --- closed forms, in which no tail cancels ---


def gaussian_tail(z: Numbers) -> Numbers:
    """Φ(z), by erfcx below zero."""
    below = 0.5 * special.erfcx(-np.minimum(z, 0) / np.sqrt(2)) * np.exp(-z * z / 2)
    return np.asarray(np.where(z < 0, below, special.ndtr(z)))


SELU = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
EXACT: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "identity": (lambda z: z, np.ones_like),
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "tanh": (np.tanh, lambda z: 4 * special.expit(2 * z) * special.expit(-2 * z)),
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "softplus": (lambda z: -special.log_expit(-z), special.expit),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2.0),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    ),
    "selu": (
        lambda z: np.where(z > 0, SELU[0] * z, SELU[1] * np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, SELU[0], SELU[1] * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z: z * gaussian_tail(z),
        lambda z: gaussian_tail(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda z: z * special.expit(z),
        lambda z: special.expit(z) * (1 + z * special.expit(-z)),
    ),
}


def exact(name: str, z: Tensor) -> tuple[Tensor, Tensor]:
    """σ and σ′ in float64, of what z is in its own precision."""
    if name in EXACT:
        numbers = z.double().numpy()
        return torch.from_numpy(EXACT[name][0](numbers)), torch.from_numpy(EXACT[name][1](numbers))
    leaf = z.double().clone().requires_grad_()
    found = reference.activation(name)(leaf)
    return found.detach(), torch.autograd.grad(found.sum(), leaf)[0]


# --- what there is ---


def test_the_schema_offers_what_exists() -> None:
    assert sorted(ACTIVATION_NAMES) == sorted(ACTIVATIONS)
    assert all(name == one.name for name, one in ACTIVATIONS.items())
    for name in ACTIVATION_NAMES:
        assert compose(f"model.activation={name}").model.activation == name


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_parameters_of_kernel_and_schema_agree(name: str) -> None:
    file = import_module(f"mlpexp.kernel.activations.{name}")
    of_schema = {key: parameter.default for key, parameter in PARAMETERS.items() if parameter.activation == name}
    for function in (file.value, file.derivative):
        keys = inspect.signature(function).parameters
        assert {key: one.default for key, one in keys.items() if key not in ("z", "x", "out")} == of_schema
    assert compose(f"model.activation={name}").model.parameters_of(name) == of_schema


def test_a_parameter_has_an_effect_and_null_is_its_default() -> None:
    z = torch.tensor([-1.5, 2.5], dtype=torch.float64)
    for key, parameter in PARAMETERS.items():
        point, owner = f"model.activation={parameter.activation}", parameter.activation
        configs = [
            compose(point),
            compose(point, f"model.{key}={parameter.default}"),
            compose(point, f"model.{key}=0.125"),
        ]
        names = [fingerprint(config, "0" * 64) for config in configs]
        assert names[0] == names[1] != names[2]
        ones = [activation(owner, **config.model.parameters_of(owner)) for config in configs]
        values = [one.value(z, torch.empty_like(z)) for one in ones]
        assert torch.equal(values[0], value(owner, z))
        assert torch.equal(values[0], values[1])
        assert not torch.equal(values[0], values[2])


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


# --- parameters ---


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_leaky_relu_takes_its_slope_from_the_config(slope: float) -> None:
    leaky, out = activation("leaky_relu", negative_slope=slope), torch.empty_like(POINTS)
    x = leaky.value(POINTS, out)
    assert torch.equal(x, torch.where(POINTS > 0, POINTS, POINTS * slope))
    expected = torch.where(POINTS > 0, 1.0, torch.tensor(slope, dtype=torch.float64))
    assert torch.equal(leaky.derivative(POINTS, x, torch.empty_like(x)), expected)


def test_leaky_relu_without_a_slope_has_a_hundredth() -> None:
    minus_one = torch.tensor([-1.0], dtype=torch.float64)
    for one in (activation("leaky_relu"), ACTIVATIONS["leaky_relu"]):
        assert one.value(minus_one, torch.empty_like(minus_one)).tolist() == [-0.01]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_elu_goes_to_minus_alpha(alpha: float) -> None:
    z = POINTS.clone().requires_grad_()
    twin = torch.nn.functional.elu(z, alpha)
    elu = activation("elu", alpha=alpha)
    x = elu.value(POINTS, torch.empty_like(POINTS))
    torch.testing.assert_close(x, twin.detach(), rtol=1e-14, atol=0)
    slopes, (expected,) = elu.derivative(POINTS, x, torch.empty_like(x)), torch.autograd.grad(twin.sum(), z)
    torch.testing.assert_close(slopes[POINTS != 0], expected[POINTS != 0], rtol=1e-11, atol=1e-15)
    far = torch.tensor([-1e4, -torch.inf])
    assert elu.value(far, torch.empty_like(far)).tolist() == [-alpha, -alpha]


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 1.0), (-2.5, 0.0), (0.3, -1.0)])
def test_linear_is_the_lectures(slope: float, intercept: float) -> None:
    linear = activation("linear", slope=slope, intercept=intercept)
    x = linear.value(POINTS, torch.empty_like(POINTS))
    assert torch.equal(x, slope * POINTS + intercept)
    assert linear.derivative(POINTS, x, torch.empty_like(x)).unique().tolist() == [slope]


def test_selu_keeps_mean_zero_and_variance_one() -> None:
    def moment(power: int) -> float:
        def integrand(z: float) -> float:
            at = value("selu", torch.tensor([z], dtype=torch.float64)).item()
            return float(at**power) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        return sum(float(integrate.quad(integrand, *ends)[0]) for ends in ((-12, 0), (0, 12)))

    assert moment(1) == pytest.approx(0, abs=1e-12)
    assert moment(2) == pytest.approx(1, abs=1e-12)

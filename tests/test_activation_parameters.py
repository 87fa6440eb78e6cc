"""Parameters of activations: the schema's are the kernel's, each has an effect, and null is its default."""

import inspect
import math
from importlib import import_module

import pytest
import torch
from activation_values import POINTS, value
from runs_fixtures import compose
from scipy import integrate

from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.config import fingerprint
from mlpexp.kernel.activations import ACTIVATIONS, activation
from mlpexp.model_schema import PARAMETERS


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


# --- what they do ---


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

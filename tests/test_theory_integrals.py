"""σ in numpy against the kernel's, and Gaussian means against QUADPACK, thirty digits, drawn numbers, closed forms."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.special import erf

from mlpexp import theory
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.kernel.activations import activation as kernel_activation
from mlpexp.model_schema import PARAMETERS
from mlpexp.theory import Activation, MeanField, activation, gaussian_mean, of_functions, pair_mean
from mlpexp.theory.integrals import Function, Numbers

OTHERS = [
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.4}),
    ("linear", {"slope": -0.7, "intercept": 0.4}),
]
ALL = [activation(name) for name in ACTIVATION_NAMES] + [activation(name, **keys) for name, keys in OTHERS]
IDS = [*ACTIVATION_NAMES, *(f"{name}({keys})" for name, keys in OTHERS)]
every_activation = pytest.mark.parametrize("one", ALL, ids=IDS)
VARIANCES = [1e-6, 0.3, 1.0, 40.0, 1e4]


def hard_tanh() -> tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]:
    return lambda z: np.clip(z, -1, 0.7), lambda z: ((z > -1) & (z < 0.7)).astype(float)


# --- activations ---


def test_each_activation_of_the_kernel_has_a_twin_in_numpy() -> None:
    """Or a new one is missing here: write its functions in mlpexp/theory/activations.py."""
    assert set(theory.ACTIVATIONS) == set(ACTIVATION_NAMES)


@pytest.mark.parametrize(("name", "keys"), [*((name, {}) for name in ACTIVATION_NAMES), *OTHERS])
def test_the_twin_has_the_kernels_numbers(name: str, keys: dict[str, float]) -> None:
    ours, theirs = activation(name, **keys), kernel_activation(name, **keys)
    z = torch.cat([torch.linspace(-30, 30, 2001, dtype=torch.float64), torch.tensor([-1e-9, 1e-9, 0.37])])
    x = theirs.value(z, torch.empty_like(z))
    slopes = theirs.derivative(z, x, torch.empty_like(z))
    away = z.numpy() != 0  # at a kink either slope is right
    np.testing.assert_allclose(ours.value(z.numpy()), x.numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ours.derivative(z.numpy())[away], slopes.numpy()[away], rtol=1e-12, atol=1e-15)


def test_parameters_are_the_schemas() -> None:
    for key, mark in PARAMETERS.items():
        points = np.array([-1.5, 0.5])
        given = activation(mark.activation, **{key: mark.default}).value(points)
        assert np.array_equal(given, activation(mark.activation).value(points))
        assert not np.array_equal(given, activation(mark.activation, **{key: 0.123}).value(points))


def test_an_unknown_activation_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"knows no activation 'mish', only elu, .*of_functions"):
        activation("mish")


@pytest.mark.parametrize("shift", [0.0, 0.1, math.pi])
def test_kinks_of_ones_own_functions_are_found(shift: float) -> None:
    value, derivative = hard_tanh()
    own = of_functions("hard", lambda z: value(z - shift), lambda z: derivative(z - shift))
    np.testing.assert_allclose(own.kinks, [shift - 1, shift + 0.7], atol=1e-9)
    assert of_functions("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2).kinks == ()


def test_a_kink_that_is_not_named_is_refused_instead_of_a_wrong_number() -> None:
    with pytest.raises(theory.Unreachable, match="name the kinks"):
        MeanField(Activation("hard", *hard_tanh()), 1.0).chi(1.0)


# --- integrals ---


def by_quad(f: Callable[[Numbers], Numbers], q: float) -> float:
    """QUADPACK, piece by piece between powers of two."""
    edges = [0.0, *(2.0**i for i in range(-14, 13))]
    edges = [edge for edge in edges if edge < 11 * math.sqrt(q)] + [11 * math.sqrt(q)]

    def weighted(z: float) -> float:
        return float(f(np.asarray(z))) * math.exp(-z * z / (2 * q)) / math.sqrt(2 * math.pi * q)

    pieces = [*itertools.pairwise(edges), *((-b, -a) for a, b in itertools.pairwise(edges))]
    return math.fsum(integrate.quad(weighted, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pieces)


@pytest.mark.parametrize("q", VARIANCES)
@every_activation
def test_integrals_agree_with_quadpack(one: Activation, q: float) -> None:
    for f in (one.value, lambda z: one.value(z) ** 2, lambda z: one.derivative(z) ** 2):
        assert float(gaussian_mean(f, q)) == pytest.approx(by_quad(f, q), rel=1e-10, abs=1e-10 * min(1, math.sqrt(q)))


MPMATH: dict[str, tuple[Callable[..., mpmath.mpf], Callable[..., mpmath.mpf]]] = {
    "tanh": (mpmath.tanh, lambda z: mpmath.sech(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + mpmath.exp(-z)), lambda z: mpmath.exp(-z) / (1 + mpmath.exp(-z)) ** 2),
    "elu": (lambda z: z if z > 0 else mpmath.expm1(z), lambda z: mpmath.mpf(1) if z > 0 else mpmath.exp(z)),
    "gelu": (lambda z: z * mpmath.ncdf(z), lambda z: mpmath.ncdf(z) + z * mpmath.npdf(z)),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
}  # fmt: skip


def mean_square(f: Function, q: float, mean: float = 0.0) -> float:
    """E f(z)², z ~ N(mean, q)."""
    return float(gaussian_mean(lambda z: f(z) ** 2, q, mean=mean))


@pytest.mark.parametrize("q", [0.09, 1.0, 64.0])
@pytest.mark.parametrize("name", MPMATH)
def test_integrals_agree_with_thirty_digits(name: str, q: float) -> None:
    value, derivative = MPMATH[name]
    places = [-12, -3, -1, -0.2, 0, 0.2, 1, 3, 12]
    with mpmath.workdps(30):
        exact = [
            float(mpmath.quad(lambda u, f=f: f(mpmath.sqrt(q) * u) ** 2 * mpmath.npdf(u), places))
            for f in (value, derivative)
        ]
    one = activation(name)
    found = [mean_square(one.value, q), mean_square(one.derivative, q)]
    assert found == pytest.approx(exact, rel=1e-12)


@every_activation
def test_integrals_agree_with_drawn_numbers(one: Activation) -> None:
    z = 0.3 + 1.5 * np.random.default_rng(0).standard_normal(400_000)
    for f in (one.value, one.derivative):
        drawn = f(z) ** 2
        bound = 5 * drawn.std() / math.sqrt(len(z)) + 1e-12
        assert abs(mean_square(f, 2.25, 0.3) - drawn.mean()) < bound


def above(edge: float, z: Numbers) -> Numbers:
    return np.maximum(z - edge, 0)


def test_a_kink_beside_the_mean_and_one_far_away_cost_no_precision() -> None:
    """E max(z − a, 0) = s φ(a/s) − a Φ(−a/s), z ~ N(0, s²)."""
    for a, s in itertools.product([-3.0, 0.0, 1e-3, 2.0, 50.0], [0.1, 1.0, 30.0]):
        found = float(gaussian_mean(partial(above, a), s * s, [a]))
        exact = float(s * mpmath.npdf(a / s) - a * mpmath.ncdf(-a / s))
        assert found == pytest.approx(exact, rel=1e-11, abs=1e-14 * s)


def test_shapes_broadcast() -> None:
    found = gaussian_mean(np.square, [[1.0], [4.0]], mean=[0.0, 1.0, 2.0])
    np.testing.assert_allclose(found, [[1, 2, 5], [4, 5, 8]], rtol=1e-12)
    assert gaussian_mean(np.square, 1.0).shape == ()


@pytest.mark.parametrize("c", [-1.0, -0.7, 0.0, 0.4, 0.999999, 1.0])
def test_means_of_pairs_have_their_closed_forms(c: float) -> None:
    """Products of linear units, and of erf (Williams 1997): (2/π) asin(2c√(qq′)/√((1 + 2q)(1 + 2q′)))."""
    q, other = 1.7, 0.4
    assert pair_mean(lambda z: z, lambda z: z, (q, other), c) == pytest.approx(c * math.sqrt(q * other), abs=1e-12)
    exact = 2 / math.pi * math.asin(2 * c * math.sqrt(q * other) / math.sqrt((1 + 2 * q) * (1 + 2 * other)))
    assert pair_mean(erf, erf, (q, other), c) == pytest.approx(exact, abs=1e-12)


@every_activation
def test_the_correlations_slope_is_the_mean_of_both_slopes(one: Activation) -> None:
    """d E[σσ′]/dc = q E[σ̇σ̇′] (Price 1958), by central differences."""
    q, c, h = 1.3, 0.6, 1e-3
    value, slope = one.value, one.derivative
    ends = [pair_mean(value, value, (q, q), place, one.kinks) for place in (c + h, c - h, c + 2 * h, c - 2 * h)]
    difference = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
    assert difference == pytest.approx(q * pair_mean(slope, slope, (q, q), c, one.kinks), rel=1e-8, abs=1e-10)

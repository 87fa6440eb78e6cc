"""The theory room by itself: every known point, fixed points against iteration, closed forms, reasons of refusals."""

import doctest
import itertools
import math

import numpy as np
import pytest
from test_theory_integrals import every_activation

from mlpexp import theory
from mlpexp.theory import Activation, MeanField, activation, critical


def layer(name: str, sigma_w2: float, sigma_b2: float = 0.0, **keys: float) -> MeanField:
    return MeanField(activation(name, **keys), sigma_w2, sigma_b2)


def test_the_example_of_the_room_runs() -> None:
    assert doctest.testmod(theory) == (0, 4)


# --- lengths, gradients, correlations ---


def test_relu_halves_and_its_chi_is_half_the_variance() -> None:
    for w2, q in itertools.product([0.5, 2.0, 3.0], [1e-9, 1.0, 1e6]):
        assert float(layer("relu", w2, 0.1).length(q)) == pytest.approx(w2 * q / 2 + 0.1, rel=1e-12)
        assert float(layer("relu", w2).chi(q)) == pytest.approx(w2 / 2, rel=1e-12)


def test_tanh_with_gain_5_3_explodes() -> None:
    zero, stable = layer("tanh", 25 / 9).fixed_points
    assert (zero.q, zero.stable, stable.stable) == (0.0, False, True)
    assert zero.chi == pytest.approx(25 / 9, rel=1e-12)
    assert stable.chi == pytest.approx(1.210, abs=5e-4)


def test_sigmoid_with_glorot() -> None:
    (stable,) = layer("sigmoid", 1.0).fixed_points
    assert stable.stable
    assert (stable.q, stable.chi) == (pytest.approx(0.265, abs=5e-4), pytest.approx(0.0557, abs=5e-5))


def test_selu_with_lecun_keeps_length_one() -> None:
    stable = layer("selu", 1.0).fixed_points[-1]
    assert stable.stable
    assert (stable.q, stable.chi) == (pytest.approx(1, abs=1e-12), pytest.approx(1.072, abs=5e-4))


def test_he_relu_keeps_every_length() -> None:
    (zero,) = layer("relu", 2.0).fixed_points
    assert zero.stable
    assert (zero.q, zero.slope, zero.chi) == (0, pytest.approx(1, abs=1e-12), pytest.approx(1, abs=1e-12))


@pytest.mark.parametrize("b2", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("w2", [0.3, 1.0, 1.9, 4.0])
@every_activation
def test_lengths_run_to_a_stable_fixed_point_or_away(one: Activation, w2: float, b2: float) -> None:
    """What iterating the map finds is in the list, with the slope of the map there."""
    field, q = MeanField(one, w2, b2), 2.0
    for _ in range(3000):
        before, q = q, float(field.length(q))
        if abs(q - before) <= 1e-13 * q or not 1e-13 < q < 1e13:
            break
    else:
        assert abs(float(field.length_slope(q)) - 1) < 1e-2  # a marginal map: polynomially slow
        return
    if q >= 1e13:
        assert not [point for point in field.fixed_points if point.stable and point.q > 2]
    elif q == pytest.approx(2, rel=1e-12) and b2 == 0 and one.name in ("identity", "linear"):
        assert field.fixed_points[0].slope == pytest.approx(1, abs=1e-12)  # every length is kept
    else:
        (found,) = [p for p in field.fixed_points if p.stable and abs(p.q - q) <= 1e-8 * max(q, 1e-4)]
        if found.q > 1e-3:
            h = 1e-5 * found.q
            slope = float(field.length(found.q + h) - field.length(found.q - h)) / (2 * h)
            assert slope == pytest.approx(found.slope, rel=1e-5, abs=1e-7)


def test_the_correlation_map_of_he_relu() -> None:
    c = np.linspace(-1, 1, 41)
    exact = (np.sqrt(1 - c * c) + (np.pi - np.arccos(c)) * c) / np.pi
    np.testing.assert_allclose(layer("relu", 2.0).correlation(c, 0.8), exact, atol=1e-13)


@every_activation
def test_the_slope_of_the_correlation_map_at_one_is_chi(one: Activation) -> None:
    """At a length that lasts, χ is the slope at c = 1: the same number decides about gradients and about examples."""
    field = MeanField(one, 1.2, 0.3)
    for point in field.fixed_points:
        h = 1e-5
        slope = (1 - float(field.correlation(1 - h, point.q))) / h
        assert slope == pytest.approx(point.chi, rel=2e-2)  # a kink makes the map's curvature infinite at 1


def test_order_makes_examples_alike_and_chaos_keeps_them_apart() -> None:
    ordered, chaotic = layer("tanh", 1.2, 0.3), layer("tanh", 4.0, 0.05)
    (low,), (high,) = ordered.fixed_points, chaotic.fixed_points
    assert low.chi < 1 < high.chi
    assert ordered.correlation_fixed_point(low.q) == 1.0
    c = chaotic.correlation_fixed_point(high.q)
    assert 0 < c < 0.9
    assert float(chaotic.correlation(c, high.q)) == pytest.approx(c, abs=1e-9)


def test_the_depth_scale_is_the_e_fold_of_the_squared_norm() -> None:
    assert theory.depth_scale(math.exp(-0.1)) == pytest.approx(10)
    assert theory.depth_scale(math.exp(0.1)) == pytest.approx(10)
    assert theory.depth_scale(1.0) == math.inf
    assert theory.depth_scale(0.0) == 0.0


# --- the critical line ---


@pytest.mark.parametrize(
    ("name", "b2", "w2", "precision"),
    [
        ("tanh", 0.0, 1.0, 1e-12), ("tanh", 0.05, 1.761, 5e-4), ("relu", 0.0, 2.0, 1e-12),
        ("identity", 0.0, 1.0, 1e-12), ("leaky_relu", 0.0, 2 / 1.0001, 1e-12), ("softsign", 0.0, 1.0, 1e-12),
        ("sigmoid", 0.0, 103, 0.05), ("elu", 0.0, 1.0, 1e-12), ("selu", 0.0, 0.4768, 1e-4),
    ],
)  # fmt: skip
def test_critical_points(name: str, b2: float, w2: float, precision: float) -> None:
    found = critical(activation(name), b2)
    assert found.sigma_w2 == pytest.approx(w2, abs=precision)
    field = MeanField(activation(name), found.sigma_w2, b2)
    assert float(field.chi(found.q)) == pytest.approx(1, abs=1e-9)
    assert float(field.length(found.q)) == pytest.approx(found.q, rel=1e-9, abs=1e-25)


@pytest.mark.parametrize(
    ("name", "b2", "reason"),
    [
        ("softplus", 0.0, r"every length grows"), ("softplus", 1.0, r"every length grows"),
        ("gelu", 0.0, r"χ = 1 at σ_w² = 4, q = 0, but lengths near it move away"),
        ("silu", 0.0, r"χ = 1 at σ_w² = 4, q = 0, but lengths near it move away"),
        ("relu", 0.1, r"lengths grow from layer to layer; with σ_b = 0"),
    ],
)  # fmt: skip
def test_where_there_is_no_critical_point_the_reason_is_told(name: str, b2: float, reason: str) -> None:
    with pytest.raises(theory.NotCritical, match=f"{name} has no stable critical point at σ_b² = {b2:g}: .*{reason}"):
        critical(activation(name), b2)


def test_softplus_loses_gradient_at_every_length_that_lasts() -> None:
    """The refusal by another route: whatever σ_w², χ < 1 at each fixed point."""
    for w2 in np.logspace(-2, 2, 21):
        assert all(point.chi < 1 for point in layer("softplus", float(w2)).fixed_points)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_the_lengths_of_gelu_and_silu_leave_their_critical_point(name: str) -> None:
    q = np.logspace(-6, 6, 100)
    assert bool(np.all(layer(name, 4.0).length(q) > q * (1 + 1e-8)))


def test_the_critical_line_of_tanh_rises() -> None:
    line = theory.critical_line(activation("tanh"), [0.0, 0.01, 0.05, 0.2])
    assert bool(np.all(np.diff(line) > 0))
    assert np.isnan(theory.critical_line(activation("softplus"), [0.0]))[0]


# --- finite width ---


@pytest.mark.parametrize(("name", "c"), [("relu", 5.0), ("identity", 2.0), ("linear", 2.0)])
def test_variance_over_seeds_has_hanins_constant(name: str, c: float) -> None:
    found = theory.log_delta2_variance([activation(name)] * 3, [1.0] * 3, [10, 20, 40])
    np.testing.assert_allclose(found, [c * (1 / 10 + 1 / 20 + 1 / 40), c * (1 / 20 + 1 / 40), c / 40, 0], rtol=1e-12)


def test_a_layer_is_born_dead_as_often_as_drawn_networks_are() -> None:
    """One input, three units a layer, no bias: 1 − (1 − 2⁻³)⁴ of 20 000 networks."""
    generator, networks = np.random.default_rng(0), 20_000
    x = np.ones((networks, 1, 2))
    for k_in, k_out in itertools.pairwise([2, 3, 3, 3, 3]):
        x = np.maximum(x @ generator.standard_normal((networks, k_in, k_out)), 0)
    predicted = theory.dead_layer_probability([3] * 4)
    assert predicted == pytest.approx(1 - (1 - 2**-3) ** 4, rel=1e-12)
    drawn = float(np.mean(~x.any(axis=(1, 2))))
    assert abs(drawn - predicted) < 5 * math.sqrt(predicted * (1 - predicted) / networks)
    assert theory.dead_layer_probability([4096]) == pytest.approx(0, abs=1e-300)


def test_units_that_are_off_for_every_example() -> None:
    c = np.array([0.0, 0.3, 0.8, 1.0])
    np.testing.assert_allclose(theory.dead_unit_share(c, 2), 0.25 + np.arcsin(c) / (2 * np.pi), atol=1e-12)
    for n in (1, 7, 10_000):
        assert float(theory.dead_unit_share(0.5, n)) == pytest.approx(1 / (n + 1), rel=1e-9)  # the largest of n + 1
    assert float(theory.dead_unit_share(0.0, 5)) == pytest.approx(2**-5)

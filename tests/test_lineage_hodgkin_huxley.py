"""The axon of 1952 against a scalar twin in the paper's own signs, integrated by the classic Runge–Kutta rule."""

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import pytest

from mlpexp.lineage.action_potentials import (
    LARGEST_PULSE,
    absolute_refractory_period,
    firing_rates,
    rheobase,
    smallest,
    spikes,
    state_after_spike,
    thresholds,
)
from mlpexp.lineage.hodgkin_huxley import (
    Floats,
    derivative,
    integrate,
    ionic_current,
    rates,
    resting_state,
    steady_gates,
)

State = tuple[float, float, float, float]


def paper(state: State, current: float) -> State:
    """d/dt of V, m, h, n as the paper prints it: V from rest, depolarisation negative, inward current positive.

    `state` has V₁₉₅₂ = −65 mV − V; the injected current is I₁₉₅₂ = −I.
    """
    v, m, h, n = state
    a_n = 0.01 * (v + 10) / (math.exp((v + 10) / 10) - 1)
    b_n = 0.125 * math.exp(v / 80)
    a_m = 0.1 * (v + 25) / (math.exp((v + 25) / 10) - 1)
    b_m = 4 * math.exp(v / 18)
    a_h = 0.07 * math.exp(v / 20)
    b_h = 1 / (math.exp((v + 30) / 10) + 1)
    ionic = 36 * n**4 * (v - 12) + 120 * m**3 * h * (v + 115) + 0.3 * (v + 10.613)
    return current - ionic, a_m * (1 - m) - b_m * m, a_h * (1 - h) - b_h * h, a_n * (1 - n) - b_n * n


def runge_kutta(state: State, current: float, steps: int, h: float) -> list[State]:
    """The classic rule of order 4: the state at each step, the first included."""

    def moved(a: State, b: State, by: float) -> State:
        return a[0] + by * b[0], a[1] + by * b[1], a[2] + by * b[2], a[3] + by * b[3]

    course = [state]
    for _ in range(steps):
        k1 = paper(state, current)
        k2 = paper(moved(state, k1, h / 2), current)
        k3 = paper(moved(state, k2, h / 2), current)
        k4 = paper(moved(state, k3, h), current)
        for k, weight in ((k1, 1), (k2, 2), (k3, 2), (k4, 1)):
            state = moved(state, k, weight * h / 6)
        course.append(state)
    return course


def in_paper(state: Floats, pulse: float = 0.0) -> State:
    """A state of ours, displaced, in the paper's signs."""
    v, m, h, n = (float(x) for x in state)
    return -65.0 - (v + pulse), m, h, n


def twin(start: Floats, current: float, duration: float, h: float, pulse: float = 0.0) -> Floats:
    """The twin's course in our signs, [4, T]."""
    course = np.array(runge_kutta(in_paper(start, pulse), -current, round(duration / h), h)).T
    course[0] = -65.0 - course[0]
    return course


def twin_fires(start: Floats, current: float = 0.0, pulse: float = 0.0, duration: float = 25.0) -> bool:
    """Whether the twin crosses 0 mV upwards."""
    v = twin(start, current, duration, 0.02, pulse)[0]
    return bool(((v[:-1] < 0) & (v[1:] >= 0)).any())


@cache
def exact() -> Floats:
    """30 ms under 10 µA/cm² by scipy's integrator at its sharpest, every 0.08 ms."""
    return integrate(resting_state(), 10.0, np.linspace(0.0, 30.0, 376), rtol=1e-12)


def test_the_four_equations_are_the_papers() -> None:
    states = np.random.default_rng(0).uniform([-100, 0, 0, 0], [60, 1, 1, 1], (50, 4))
    for state in states:
        dv, *gates = paper(in_paper(state), -7.0)
        assert derivative(state, 7.0) == pytest.approx([-dv, *gates], rel=1e-12, abs=1e-10)


def test_it_agrees_with_an_independent_integrator_to_a_millionth() -> None:
    slow = twin(resting_state(), 10.0, 30.0, 0.0025)[:, ::32]
    ours = integrate(resting_state(), 10.0, np.linspace(0.0, 30.0, 376), rtol=1e-10)
    assert ours[0].max() > 30  # there are spikes, where errors would show
    assert np.abs(ours - slow).max() < 1e-6


def test_halving_the_step_of_the_classic_rule_divides_its_error_by_sixteen() -> None:
    errors = [
        np.abs(twin(resting_state(), 10.0, 30.0, h)[:, :: round(0.08 / h)] - exact()).max() for h in (0.02, 0.01, 0.005)
    ]
    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx([4, 4], abs=0.3)


def test_nothing_changes_at_rest_and_the_axon_comes_to_rest_there() -> None:
    rest = resting_state()
    assert np.abs(derivative(rest, 0.0)).max() < 1e-12
    displaced = rest + np.array([3.0, 0.02, -0.05, 0.03])
    assert twin(displaced, 0.0, 200.0, 0.05)[:, -1] == pytest.approx(rest, abs=1e-6)
    assert rest[0] == pytest.approx(-65, abs=0.01)  # the paper's E_l was chosen, to three decimals, so that it is


def test_there_is_one_resting_state_since_the_steady_current_rises() -> None:
    v = np.linspace(-150, 100, 20001)
    assert (np.diff(ionic_current(v, *steady_gates(v))) > 0).all()


def test_rest_under_a_current_loses_its_stability_where_rinzel_and_miller_say() -> None:
    def growth(current: float) -> float:
        state, h = resting_state(current), 1e-6
        jacobian = [
            (derivative(state + h * e, current) - derivative(state - h * e, current)) / (2 * h) for e in np.eye(4)
        ]
        return float(np.linalg.eigvals(np.array(jacobian).T).real.max())

    assert growth(9.7) < 0 < growth(9.85)  # 9.78 µA/cm²
    assert growth(154.0) > 0 > growth(155.0)  # 154.5


@pytest.mark.parametrize(("place", "rate", "limit"), [(-40.0, 0, 1.0), (-55.0, 4, 0.1)])
def test_removable_singularities_are_exact_there_and_beside(place: float, rate: int, limit: float) -> None:
    assert rates(place)[rate] == limit
    for offset in (1e-13, -1e-9, 1e-5, -1e-3, 0.1, -3.0, 40.0):
        v = place + offset
        with localcontext() as context:
            context.prec = 60
            x = (Decimal(v) - Decimal(place)) / 10
            value = Decimal(str(limit)) * x / (1 - (-x).exp())
        assert rates(v)[rate] == pytest.approx(float(value), rel=4e-15)


def test_rates_stay_finite_far_outside() -> None:
    far = np.array([-5000.0, 5000.0])
    alpha_m, _, _, beta_h, alpha_n, _ = rates(far)
    assert alpha_m == pytest.approx([0, 504])
    assert beta_h == pytest.approx([0, 1])
    assert alpha_n == pytest.approx([0, 50.55])


def test_axons_side_by_side_do_as_one_alone() -> None:
    rest, times, currents = resting_state(), np.arange(0, 20, 0.1), np.array([0.0, 5.0, 12.0])
    together = integrate(np.repeat(rest[:, None], 3, axis=1), currents, times)
    for column, current in enumerate(currents):
        assert together[:, column] == pytest.approx(integrate(rest, float(current), times), abs=1e-5)


def test_the_twin_finds_the_same_threshold() -> None:
    rest = resting_state()
    (threshold,) = thresholds(rest[:, None])
    assert [twin_fires(rest, pulse=share * threshold) for share in (0.999, 1.001)] == [False, True]


def test_the_twin_is_refractory_as_long() -> None:
    pulse = 13.0
    period = absolute_refractory_period(pulse)
    course = twin(resting_state(), 0.0, 30.0, 0.01, pulse)
    at = [course[:, round((period + early) / 0.01)] for early in (-0.05, 0.05)]
    assert [twin_fires(state, pulse=LARGEST_PULSE) for state in at] == [False, True]


def test_a_second_pulse_needs_less_and_less_until_it_is_like_the_first() -> None:
    intervals = np.array([3.0, 8.0, 10.0, 12.0, 15.0, 60.0])
    needed = thresholds(state_after_spike(intervals, 13.0))
    assert np.isnan(needed[0])
    assert (np.diff(needed[1:5]) < 0).all()
    assert needed[-1] == pytest.approx(thresholds(resting_state()[:, None])[0], abs=0.05)


def test_the_twin_has_the_same_rheobase() -> None:
    least = rheobase()
    rest = resting_state()
    assert [twin_fires(rest, current=least + d, duration=40.0) for d in (-0.01, 0.01)] == [False, True]


def test_firing_begins_with_a_jump_and_its_rate_is_the_twins() -> None:
    found = firing_rates(np.array([6.2, 6.32, 10.0, 20.0, 40.0]))
    assert found[0] == 0
    assert 45 < found[1] < found[2] < found[3] < found[4]
    v = twin(resting_state(), 10.0, 200.0, 0.02)
    (fired,) = spikes(np.linspace(0.0, 200.0, v.shape[1]), v[:1])
    late = fired[fired > 80]
    assert found[2] == pytest.approx(1000 / np.diff(late).mean(), rel=1e-3)


def test_a_few_spikes_that_die_out_are_no_firing() -> None:
    assert firing_rates(np.array([3.0])) == [0]


def test_spikes_are_upward_crossings_between_samples() -> None:
    found = spikes(np.array([0.0, 1.0, 2.0, 4.0]), np.array([[-1.0, 3.0, -2.0, 2.0], [1.0, 1.0, -1.0, -2.0]]))
    assert found[0] == pytest.approx([0.25, 3.0])
    assert len(found[1]) == 0


@pytest.mark.parametrize("edge", [0.001, 0.37, 9.999])
def test_a_search_ends_just_above_the_edge(edge: float) -> None:
    def holds(values: Floats) -> np.ndarray:
        return values >= np.array([[edge], [edge / 2]])

    found = smallest(holds, np.zeros(2), np.full(2, 10.0))
    assert ((found >= [edge, edge / 2]) & (found <= np.array([edge, edge / 2]) + 1e-3)).all()


def test_a_positive_current_depolarises_and_excites() -> None:
    up, down = (integrate(resting_state(), current, np.array([0.0, 1.0]))[0, -1] for current in (5.0, -5.0))
    assert down < resting_state()[0] < up

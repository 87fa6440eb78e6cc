"""Update rules against torch.optim and hand-written scalar versions, in float64; what the lecture says of them."""

import math
from collections.abc import Callable

import pytest
import scalar_rules
import torch
from torch import Tensor
from update_rules import (
    BETA1,
    BETA2,
    EPSILON,
    FLOORS,
    MOMENTA,
    RATES,
    RULES,
    STEP_MAX,
    STEP_MIN,
    P,
    R,
    adam,
    descent,
    gradients,
    rmsprop,
    rprop,
    stepped,
    updates,
)

from mlpexp.kernel.optimizers import Adam, GradientDescent, RMSProp, Rule, column


def test_every_rule_is_tested_here() -> None:
    assert {type(make()) for make in RULES.values()} == set(Rule.__subclasses__())


# --- as torch has them ---


def by_torch(make: Callable[[list[Tensor]], torch.optim.Optimizer], given: Tensor) -> Tensor:
    """Updates [T, P] that a torch optimizer makes of gradients [T, P]; it starts at zero, where nothing is rounded."""
    found = []
    weight = torch.zeros(given.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = make([weight])
    for g in given:
        with torch.no_grad():
            weight.zero_()
        weight.grad = g.clone()
        optimizer.step()
        found.append(weight.detach().clone())
    return torch.stack(found)


@pytest.mark.parametrize("lane", range(R))
def test_gradient_descent_is_torchs_sgd_without_dampening(lane: int) -> None:
    expected = by_torch(lambda p: torch.optim.SGD(p, RATES[lane], momentum=MOMENTA[lane]), gradients()[:, lane])
    torch.testing.assert_close(updates(descent(), gradients())[:, lane], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("lane", range(R))
def test_adam_outside_is_torchs(lane: int) -> None:
    def make(parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, RATES[lane], (BETA1[lane], BETA2[lane]), EPSILON[lane])

    expected = by_torch(make, gradients()[:, lane])
    torch.testing.assert_close(updates(adam(False), gradients())[:, lane], expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("lane", range(R))
def test_nesterov_rmsprop_and_irprop_minus_are_torchs(lane: int) -> None:
    given = gradients()
    momentum = MOMENTA[lane] or 0.3
    rule = GradientDescent(column(RATES), column([m or 0.3 for m in MOMENTA]), nesterov=True)
    expected = by_torch(lambda p: torch.optim.SGD(p, RATES[lane], momentum=momentum, nesterov=True), given[:, lane])
    torch.testing.assert_close(updates(rule, given)[:, lane], expected, rtol=1e-12, atol=0)
    expected = by_torch(
        lambda p: torch.optim.RMSprop(p, RATES[lane], alpha=BETA2[lane], eps=FLOORS[lane] or 1e-30), given[:, lane]
    )
    torch.testing.assert_close(updates(rmsprop(), given)[:, lane], expected, rtol=1e-11, atol=0)
    minus = rprop(False)
    etas = float(minus.eta_minus[lane]), float(minus.eta_plus[lane])
    expected = by_torch(
        lambda p: torch.optim.Rprop(p, RATES[lane], etas=etas, step_sizes=(STEP_MIN[lane], STEP_MAX[lane])),
        given[:, lane],
    )
    torch.testing.assert_close(updates(minus, given)[:, lane], expected, rtol=1e-12, atol=0)


# --- one Python number at a time ---


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_adam_equals_one_number_at_a_time(inside: bool, scale: float) -> None:
    given = gradients(scale)
    found = updates(adam(inside), given)
    for lane in range(R):
        settings = RATES[lane], BETA1[lane], BETA2[lane], EPSILON[lane]
        expected = [scalar_rules.adam(given[:, lane, p].tolist(), *settings, inside) for p in range(P)]
        torch.testing.assert_close(found[:, lane], torch.tensor(expected, dtype=torch.float64).T, rtol=1e-11, atol=0)


def test_gradient_descent_equals_one_number_at_a_time() -> None:
    found = updates(descent(), gradients())
    for lane in range(R):
        expected = [
            scalar_rules.descent(gradients()[:, lane, p].tolist(), RATES[lane], MOMENTA[lane]) for p in range(P)
        ]
        torch.testing.assert_close(found[:, lane], torch.tensor(expected, dtype=torch.float64).T, rtol=1e-12, atol=0)


LONG = torch.cat([gradients(), gradients(1e-3)[:40]])


def scalar(name: str, lane: int) -> Callable[[list[float]], list[float]]:
    """The rule of a lane for one parameter."""
    rate = RATES[lane]
    return {
        "gradient_descent": lambda g: scalar_rules.descent(g, rate, MOMENTA[lane]),
        "nesterov": lambda g: scalar_rules.nesterov(g, rate, MOMENTA[lane]),
        "adam outside": lambda g: scalar_rules.adam(g, rate, BETA1[lane], BETA2[lane], EPSILON[lane], False),
        "adam inside": lambda g: scalar_rules.adam(g, rate, BETA1[lane], BETA2[lane], EPSILON[lane], True),
        "rmsprop": lambda g: scalar_rules.rmsprop(g, rate, BETA2[lane], FLOORS[lane]),
        "rprop minus": lambda g: scalar_rprop_of(g, lane, False),
        "rprop plus": lambda g: scalar_rprop_of(g, lane, True),
    }[name]


def scalar_rprop_of(given: list[float], lane: int, backtracking: bool) -> list[float]:
    rule = rprop(backtracking)
    etas = float(rule.eta_minus[lane]), float(rule.eta_plus[lane])
    return scalar_rules.rprop(given, RATES[lane], *etas, STEP_MIN[lane], STEP_MAX[lane], backtracking)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_equals_one_number_at_a_time_over_a_hundred_steps(name: str) -> None:
    found = updates(RULES[name](), LONG)
    assert len(found) == 100
    for lane in range(R):
        expected = [scalar(name, lane)(LONG[:, lane, p].tolist()) for p in range(P)]
        torch.testing.assert_close(
            found[:, lane], torch.tensor(expected, dtype=torch.float64).T, rtol=1e-12, atol=1e-300
        )


# --- what the lecture says of them ---


def test_without_momentum_the_update_is_the_gradient_times_the_rate() -> None:
    found = updates(GradientDescent(column([0.25] * R), column([0.0] * R)), gradients())
    assert torch.equal(found, -0.25 * gradients())


def test_the_placements_agree_where_the_floor_decides_alone() -> None:
    """β₂ = 0 and a gradient that has just vanished: V̂ = 0, M̂ is not, so both divide by ε."""
    given = torch.zeros(3, R, P, dtype=torch.float64)
    given[0] = 1.0
    rate, beta1, beta2 = (column([value] * R) for value in (0.1, 0.9, 0.0))
    outside = updates(Adam(rate, beta1, beta2, column(EPSILON), inside=False), given)
    inside = updates(Adam(rate, beta1, beta2, column([e * e for e in EPSILON]), inside=True), given)
    assert bool((outside[1:].abs() > 1).all())
    torch.testing.assert_close(outside[1:], inside[1:], rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e-4, 1.0])
def test_inside_with_squared_epsilon_is_outside_within_a_factor_of_root_two(scale: float) -> None:
    """√(a² + ε²) ≤ a + ε ≤ √2 √(a² + ε²)."""
    inside = updates(adam(True, epsilon=[e * e for e in EPSILON]), gradients(scale)).abs()
    outside = updates(adam(False), gradients(scale)).abs()
    assert bool((outside <= inside * (1 + 1e-12)).all())
    assert bool((inside <= math.sqrt(2) * outside * (1 + 1e-12)).all())


def test_adams_first_step_is_the_rate_whatever_the_gradients_size() -> None:
    small = column([1e-30] * R)
    for inside in (True, False):
        rule = Adam(column(RATES), column(BETA1), column(BETA2), small, inside=inside)
        first = updates(rule, gradients(1e3)[:1])[0]
        torch.testing.assert_close(first.abs(), column(RATES).expand(R, P), rtol=1e-12, atol=0)


def test_rmsprop_with_beta_zero_is_sign_descent() -> None:
    for dtype in (torch.float32, torch.float64):
        given = gradients().to(dtype)
        given[:, :, 0] = 0
        found = updates(RMSProp(column(RATES), column([0.0] * R), column([0.0] * R)), given)
        torch.testing.assert_close(found, -column(RATES).to(dtype) * torch.sign(given), rtol=1e-6, atol=0)


def test_rmsprops_first_step_is_the_rate_over_the_root_of_one_minus_beta() -> None:
    found = updates(RMSProp(column(RATES), column([0.99] * R), column([0.0] * R)), gradients()[:1])[0]
    torch.testing.assert_close(found.abs(), (10 * column(RATES)).expand(R, P), rtol=1e-12, atol=0)


def test_adam_is_rmsprop_with_momentum_and_bias_correction() -> None:
    """M by the momentum's recursion, √V by RMSProp's, both divided by their corrections: Adam's update."""
    beta1, beta2, given = column(BETA1), column(BETA2), gradients()
    momentum = GradientDescent(column([1.0] * R), beta1)
    root = RMSProp(column([1.0] * R), beta2, column([0.0] * R))
    momentum.start(given[0])
    root.start(given[0])
    found = []
    for t, g in enumerate(given, start=1):
        velocity = -stepped(momentum, g) * (1 - beta1)
        stepped(root, g)
        assert root.root is not None
        corrected = root.root / (1 - beta2**t).sqrt()
        found.append(-column(RATES) * velocity / (1 - beta1**t) / (corrected + column(EPSILON)))
    torch.testing.assert_close(torch.stack(found), updates(adam(False), given), rtol=1e-10, atol=0)

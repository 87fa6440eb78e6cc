"""Update rules against torch.optim and against hand-written scalar versions, in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from torch import Tensor

from mlpexp.kernel.optimizers import Adam, GradientDescent, Rule, column

R, P, T = 4, 7, 60
RATES = [0.1, 1e-3, 2.0, 0.5]
MOMENTA = [0.0, 0.9, 0.5, 0.99]
BETA1 = [0.9, 0.0, 0.5, 0.9]
BETA2 = [0.999, 0.9, 0.0, 0.99]
EPSILON = [1e-8, 1e-4, 1e-3, 1e-12]


def gradients(scale: float = 1.0) -> Tensor:
    """[T, R, P], of sizes that change from step to step."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.rand(T, R, 1, generator=generator, dtype=torch.float64)
    return scale * sizes * torch.randn(T, R, P, generator=generator, dtype=torch.float64)


def descent(lanes: slice = slice(None)) -> GradientDescent:
    return GradientDescent(column(RATES[lanes]), column(MOMENTA[lanes]))


def adam(inside: bool, lanes: slice = slice(None), epsilon: list[float] = EPSILON) -> Adam:
    rate, beta1, beta2, floor = (column(v[lanes]) for v in (RATES, BETA1, BETA2, epsilon))
    return Adam(rate, beta1, beta2, floor, inside=inside)


RULES: dict[str, Callable[..., Rule]] = {
    "gradient_descent": descent,
    "adam outside": lambda lanes=slice(None): adam(False, lanes),
    "adam inside": lambda lanes=slice(None): adam(True, lanes),
}


def updates(rule: Rule, given: Tensor) -> Tensor:
    rule.start(torch.zeros_like(given[0]))
    return torch.stack([rule.step(g).clone() for g in given])


def test_every_rule_is_tested_here() -> None:
    assert {type(make()) for make in RULES.values()} == set(Rule.__subclasses__())


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


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_adam_equals_one_number_at_a_time(inside: bool, scale: float) -> None:
    given = gradients(scale)
    found = updates(adam(inside), given)
    for lane in range(R):
        settings = RATES[lane], BETA1[lane], BETA2[lane], EPSILON[lane]
        expected = [reference.scalar_adam(given[:, lane, p].tolist(), *settings, inside) for p in range(P)]
        torch.testing.assert_close(found[:, lane], torch.tensor(expected, dtype=torch.float64).T, rtol=1e-11, atol=0)


def test_gradient_descent_equals_one_number_at_a_time() -> None:
    found = updates(descent(), gradients())
    for lane in range(R):
        expected = [
            reference.scalar_descent(gradients()[:, lane, p].tolist(), RATES[lane], MOMENTA[lane]) for p in range(P)
        ]
        torch.testing.assert_close(found[:, lane], torch.tensor(expected, dtype=torch.float64).T, rtol=1e-12, atol=0)


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


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_of_zero_moves_nothing(inside: bool, dtype: torch.dtype) -> None:
    found = updates(adam(inside), torch.zeros(3, R, P, dtype=dtype))
    assert found.dtype == dtype
    assert torch.equal(found, torch.zeros(3, R, P, dtype=dtype))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lane_equals_itself_alone_to_the_bit(name: str, dtype: torch.dtype) -> None:
    given = gradients().to(dtype)
    together = updates(RULES[name](), given)
    for lane in range(R):
        own = slice(lane, lane + 1)
        assert torch.equal(updates(RULES[name](own), given[:, own])[:, 0], together[:, lane])


@pytest.mark.parametrize("name", RULES)
def test_lanes_that_are_selected_keep_their_state(name: str) -> None:
    whole, part = RULES[name](), RULES[name]()
    given, kept = gradients(), torch.tensor([1, 3])
    expected = updates(whole, given)[T // 2 :, kept]
    updates(part, given[: T // 2])
    part = part.select(kept)
    found = torch.stack([part.step(g[kept]).clone() for g in given[T // 2 :]])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", RULES)
def test_a_step_leaves_the_gradient_alone_and_keeps_no_hold_of_its_update(name: str) -> None:
    rule, given = RULES[name](), gradients()
    rule.start(torch.zeros(R, P, dtype=torch.float64))
    for g in given[:3]:
        before = g.clone()
        update: Any = rule.step(g)
        state = {n: v.clone() for n, v in rule.tensors().items()}
        update.fill_(torch.nan)
        assert torch.equal(g, before)
        assert all(torch.equal(v, state[n]) for n, v in rule.tensors().items())

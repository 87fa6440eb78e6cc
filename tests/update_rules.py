"""Every update rule, with settings that differ between lanes, gradients, and the updates made of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlpexp.kernel.optimizers import Adam, GradientDescent, RMSProp, Rule, column
from mlpexp.kernel.rprop import Rprop

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


FLOORS = [0.0, 1e-8, 1e-3, 0.0]
STEP_MIN, STEP_MAX = [1e-6, 1e-2, 1e-6, 1e-9], [50.0, 0.5, 1.0, 2.0]


def rmsprop(lanes: slice = slice(None)) -> RMSProp:
    return RMSProp(column(RATES[lanes]), column(BETA2[lanes]), column(FLOORS[lanes]))


def rprop(backtracking: bool, lanes: slice = slice(None)) -> Rprop:
    minus, plus = column([0.5, 0.3, 0.9, 0.5][lanes]), column([1.2, 1.5, 1.1, 1.3][lanes])
    return Rprop(column(RATES[lanes]), minus, plus, column(STEP_MIN[lanes]), column(STEP_MAX[lanes]), backtracking)


def nesterov(lanes: slice = slice(None)) -> GradientDescent:
    return GradientDescent(column(RATES[lanes]), column(MOMENTA[lanes]), nesterov=True)


RULES: dict[str, Callable[..., Rule]] = {
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "rprop minus": lambda lanes=slice(None): rprop(False, lanes),
    "rprop plus": lambda lanes=slice(None): rprop(True, lanes),
    "gradient_descent": descent,
    "adam outside": lambda lanes=slice(None): adam(False, lanes),
    "adam inside": lambda lanes=slice(None): adam(True, lanes),
}


def stepped(rule: Rule, gradient: Tensor) -> Tensor:
    """The update at the rule's own rates."""
    return rule.step(gradient, rule.learning_rate, torch.full_like(gradient, torch.nan))


def updates(rule: Rule, given: Tensor) -> Tensor:
    rule.start(torch.zeros_like(given[0]))
    return torch.stack([stepped(rule, g) for g in given])

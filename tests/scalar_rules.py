"""Slow twins of the update rules: the updates of one parameter, one Python number at a time."""

import math
from collections.abc import Sequence

from mlpexp.activation_schema import ACTIVATION_NAMES as ACTIVATION_NAMES


def adam(
    gradients: Sequence[float], learning_rate: float, beta1: float, beta2: float, epsilon: float, inside: bool
) -> list[float]:
    """The updates of one parameter, one Python number at a time (Kingma & Ba 2015, algorithm 1)."""
    m = v = 0.0
    updates = []
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        floor = math.sqrt(v_hat + epsilon) if inside else math.sqrt(v_hat) + epsilon
        updates.append(-learning_rate * m_hat / floor)
    return updates


def descent(gradients: Sequence[float], learning_rate: float, momentum: float) -> list[float]:
    """The updates of one parameter under gradient descent with momentum."""
    velocity, updates = 0.0, []
    for g in gradients:
        velocity = momentum * velocity + g
        updates.append(-learning_rate * velocity)
    return updates


def nesterov(gradients: Sequence[float], learning_rate: float, momentum: float) -> list[float]:
    """The updates of one parameter under Nesterov's momentum."""
    velocity, updates = 0.0, []
    for g in gradients:
        velocity = momentum * velocity + g
        updates.append(-learning_rate * (g + momentum * velocity))
    return updates


def rmsprop(gradients: Sequence[float], learning_rate: float, beta: float, epsilon: float) -> list[float]:
    """The updates of one parameter under RMSProp, as the lecture writes it; V = 0 without a floor is no update."""
    v, updates = 0.0, []
    for g in gradients:
        v = beta * v + (1 - beta) * g * g
        floor = math.sqrt(v) + epsilon
        updates.append(-learning_rate * g / floor if floor else 0.0)
    return updates


def rprop(
    gradients: Sequence[float], first: float, minus: float, plus: float, least: float, most: float, backtracking: bool
) -> list[float]:
    """The updates of one parameter under Rprop+ or iRprop−, case by case as the papers list them."""
    size, last_g, last, updates = first, 0.0, 0.0, []
    for g in gradients:
        if g * last_g > 0:
            size *= plus
        elif g * last_g < 0:
            size *= minus
        size = min(max(size, least), most)
        if g * last_g < 0:
            update, last_g = (-last if backtracking else 0.0), 0.0
        else:
            update, last_g = -math.copysign(size, g) if g else 0.0, g
        last = update
        updates.append(update)
    return updates

"""σ and σ′ as the theory integrates them: numpy functions, and the places of their kinks.

Flow: **activations** → mean_field. The names and parameters are those of mlpexp/kernel/activations, each written a
second time, so that neither copy checks itself. For anything else, give the functions: `of_functions`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, ndtr

from mlpexp.theory.integrals import Function, Numbers


@dataclass(frozen=True)
class Activation:
    """σ and σ′, elementwise; `kinks` are the places (but zero) where σ or a derivative of it jumps."""

    name: str
    value: Function
    derivative: Function
    kinks: tuple[float, ...] = ()


def activation(name: str, **parameters: float) -> Activation:
    """The activation of that name, with its parameters (leaky_relu's `negative_slope` …) or their defaults.

    Raises ValueError for a name that has no functions here.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"theory knows no activation {name!r}, only {', '.join(sorted(ACTIVATIONS))}; give its value and "
            "derivative to of_functions"
        )
    value, derivative = ACTIVATIONS[name](**parameters)
    return Activation(name, value, derivative)


def of_functions(name: str, value: Function, derivative: Function) -> Activation:
    """An activation from its numpy functions; kinks between −64 and 64 are found where the derivative jumps."""
    return Activation(name, value, derivative, _jumps(derivative))


def _jumps(derivative: Function) -> tuple[float, ...]:
    """Where a function jumps by more than 1e-6: intervals are halved, and a jump stays in one of the halves."""
    grid = np.linspace(-64.0, 64.0, 2**14 + 1) + 2**-9
    left, right = grid[:-1], grid[1:]
    for _ in range(60):
        high = np.abs(derivative(right) - derivative(left)) > 1e-6
        left, right = left[high], right[high]
        if not len(left):
            return ()
        middle = (left + right) / 2
        in_left = np.abs(derivative(middle) - derivative(left)) >= np.abs(derivative(right) - derivative(middle))
        left, right = np.where(in_left, left, middle), np.where(in_left, middle, right)
    return tuple(float(place) for place in np.unique(np.round(right, 12)))


Pair = tuple[Function, Function]


def _linear(slope: float = 1.0, intercept: float = 0.0) -> Pair:
    return lambda z: slope * z + intercept, lambda z: np.full_like(z, slope)


def _leaky_relu(negative_slope: float = 0.01) -> Pair:
    return lambda z: np.where(z > 0, z, negative_slope * z), lambda z: np.where(z > 0, 1.0, negative_slope)


def _elu(alpha: float = 1.0, scale: float = 1.0) -> Pair:
    def value(z: Numbers) -> Numbers:
        return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))

    return value, lambda z: scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


def _gelu() -> Pair:
    return lambda z: z * ndtr(z), lambda z: ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS: dict[str, Callable[..., Pair]] = {
    "identity": lambda: _linear(),
    "linear": _linear,
    "sigmoid": lambda: (expit, lambda z: expit(z) * expit(-z)),
    "tanh": lambda: (np.tanh, lambda z: 4 * expit(2 * z) * expit(-2 * z)),
    "softsign": lambda: (lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2.0),
    "relu": lambda: _leaky_relu(0.0),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": lambda: _elu(1.6732632423543772, 1.0507009873554805),
    "softplus": lambda: (lambda z: -log_expit(-z), expit),
    "gelu": _gelu,
    "silu": lambda: (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
}
"""By name: its parameters → σ and σ′."""

"""Activation functions σ and their derivatives, elementwise, in forms that keep bits and relative precision.

One file an activation, found by its name: `value(z, out)` writes σ(z) into `out`, `derivative(z, x, out)` writes σ′(z)
and `second_derivative(z, x, out)` σ″(z), given x = σ(z) before dropout. None changes z or x. All may take the same
parameters by keyword, with defaults; each is also a key of the schema (mlpexp/model_schema.py). Only the operations of
kernel/arithmetic.py, rule (c), are used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Self

from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """σ, σ′ and σ″. `value(z, out)` writes σ(z); the others, given x = σ(z), `(z, x, out)`; σ″ may be unknown."""

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor, Tensor], Tensor]
    second_derivative: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    @property
    def spans(self) -> tuple[tuple[slice, Self], ...]:
        """All lanes share it (kernel/lane_activations.py has those that do not)."""
        return ((slice(None), self),)

    def select(self, lanes: Sequence[int]) -> Self:
        """That of these lanes: the same."""
        return self


def activation(name: str, **parameters: float) -> Activation:
    """The activation of that name, with these parameters (leaky_relu's `negative_slope` …) or its defaults."""
    plain = ACTIVATIONS[name]
    if not parameters:
        return plain
    functions: Any = (plain.value, plain.derivative, plain.second_derivative)
    return Activation(name, *(partial(function, **parameters) for function in functions))


def _found(name: str) -> Activation:
    file: Any = import_module(f"{__name__}.{name}")
    return Activation(name, file.value, file.derivative, file.second_derivative)


ACTIVATIONS = {file.name: _found(file.name) for file in iter_modules(__path__)}
"""By name, with default parameters."""

"""The σ_w of `initialisation=critical`: theory's stable χ = 1, for the σ that feeds each layer.

Flow: model_schema, theory → **critical weights** → config (is there a point?), lanes (which?).

δ_l = σ_l′(z_l) ⊙ W_{l+1} δ_{l+1}: what a layer does to gradients is σ_w² of W_{l+1} times E σ_l′², so W_{l+1} takes the
critical σ_w of σ_l, the activation that feeds it (the length map pairs the same two). W_1 is fed by data; it scales
lengths alone, and takes what the first hidden layer's σ would.
"""

from collections.abc import Callable
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from mlpexp.model_schema import Model
from mlpexp.own_files import is_own
from mlpexp.theory import Activation, NotCritical, Unreachable, activation, critical, of_functions

if TYPE_CHECKING:
    from torch import Tensor


def refusals(model: Model, sigma_b: float) -> list[str]:
    """A line for each activation of the model (but files of the user's own) that has no critical σ_w."""
    if not model.activation_names():
        return ["model.activation=[] names no activation whose critical point could be taken; name one"]
    named = [name for name in model.activation_names() if not is_own(name)]
    found = [_named(model, name, sigma_b) for name in named]
    return [one for one in found if isinstance(one, str)]


def sigma_w(model: Model, sigma_b: float, own: Callable[[str], Activation]) -> list[float]:
    """σ_w of each layer, [L]. `own` gives the functions of a file of the user's own. Raises NotCritical."""
    names = model.activation if isinstance(model.activation, list) else [model.activation] * max(1, model.depth - 1)
    feeding = [names[0], *names] if model.depth > 1 else names[:1]

    @lru_cache
    def solved(name: str) -> float:
        found = of_activation(own(name), sigma_b) if is_own(name) else _named(model, name, sigma_b)
        if isinstance(found, str):
            raise NotCritical(found)
        return found

    return [solved(name) for name in feeding]


def _named(model: Model, name: str, sigma_b: float) -> float | str:
    return _solved(name, tuple(model.parameters_of(name).items()), sigma_b)


@lru_cache
def _solved(name: str, parameters: tuple[tuple[str, float], ...], sigma_b: float) -> float | str:
    return of_activation(activation(name, **dict(parameters)), sigma_b)


def of_activation(one: Activation, sigma_b: float) -> float | str:
    """The critical σ_w, or why there is none; to twelve digits, since a root's last bits are the machine's."""
    try:
        return float(f"{sqrt(critical(one, sigma_b**2).sigma_w2):.12g}")
    except (NotCritical, Unreachable) as error:
        return f"{error}; choose another activation or sigma_b, or initialisation=normal with a sigma_w of your own"


def of_torch(
    name: str, value: Callable[["Tensor"], "Tensor"], derivative: Callable[["Tensor", "Tensor"], "Tensor"]
) -> Activation:
    """The functions of a user's own file, σ(z) and σ′(z, x), as theory takes them."""
    import torch

    def numbers(z: np.ndarray) -> "Tensor":
        return torch.from_numpy(np.ascontiguousarray(z, dtype=np.float64))

    return of_functions(
        name,
        lambda z: np.asarray(value(numbers(z)).numpy()),
        lambda z: np.asarray(derivative(numbers(z), value(numbers(z))).numpy()),
    )

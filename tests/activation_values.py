"""σ and σ′ as the kernel gives them, and once more as closed forms in which no tail cancels."""

import math
from collections.abc import Callable

import numpy as np
import reference
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from mlpexp.kernel.activations import ACTIVATIONS

Numbers = NDArray[np.float64]

POINTS = torch.cat([torch.linspace(-12, 12, 4001, dtype=torch.float64), torch.tensor([1e-300, -1e-12, 3e-5, 0.0])])
BELOW_ONCE = {"gelu", "silu"}
"""Fall before they rise; all others never fall."""
DTYPES = [torch.float32, torch.float64]


def value(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].value(z, torch.full_like(z, torch.nan))


def derivative(name: str, z: Tensor) -> Tensor:
    return ACTIVATIONS[name].derivative(z, value(name, z), torch.full_like(z, torch.nan))


def far_and_near(dtype: torch.dtype, least: float = 1e-36, most: float = 100.0) -> Tensor:
    """Numbers of both signs, evenly spaced in size and in value."""
    sizes = torch.logspace(math.log10(least), math.log10(most), 4001, dtype=torch.float64)
    even = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    return torch.cat([sizes, -sizes, even[even != 0]]).to(dtype)


# --- closed forms ---


def gaussian_tail(z: Numbers) -> Numbers:
    """Φ(z), by erfcx below zero."""
    below = 0.5 * special.erfcx(-np.minimum(z, 0) / np.sqrt(2)) * np.exp(-z * z / 2)
    return np.asarray(np.where(z < 0, below, special.ndtr(z)))


SELU = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
EXACT: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "identity": (lambda z: z, np.ones_like),
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "tanh": (np.tanh, lambda z: 4 * special.expit(2 * z) * special.expit(-2 * z)),
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "softplus": (lambda z: -special.log_expit(-z), special.expit),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2.0),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    ),
    "selu": (
        lambda z: np.where(z > 0, SELU[0] * z, SELU[1] * np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, SELU[0], SELU[1] * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z: z * gaussian_tail(z),
        lambda z: gaussian_tail(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda z: z * special.expit(z),
        lambda z: special.expit(z) * (1 + z * special.expit(-z)),
    ),
}


def exact(name: str, z: Tensor) -> tuple[Tensor, Tensor]:
    """σ and σ′ in float64, of what z is in its own precision."""
    if name in EXACT:
        numbers = z.double().numpy()
        return torch.from_numpy(EXACT[name][0](numbers)), torch.from_numpy(EXACT[name][1](numbers))
    leaf = z.double().clone().requires_grad_()
    found = reference.activation(name)(leaf)
    return found.detach(), torch.autograd.grad(found.sum(), leaf)[0]

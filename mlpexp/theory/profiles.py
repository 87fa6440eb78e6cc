"""What a whole network looks like before training: the scale of activations and of δ, layer by layer.

Flow: mean_field → **profiles**. Each example starts at its own mean square, and what is given is a mean over examples:
images spread widely, and a mean of q says little where σ bends. The last layer is linear; its δ is taken as equally
long for all examples, and independent of the network below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from mlpexp.theory.activations import Activation
from mlpexp.theory.integrals import Numbers, gaussian_mean
from mlpexp.theory.mean_field import mean_square, mean_square_slope


@dataclass(frozen=True)
class BatchNorm:
    """Each hidden unit is brought to mean 0, variance 1 over the batch: its z (`before` σ), or its output (`after`)."""

    placement: Literal["before", "after"]
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Architecture:
    """L layers: σ of each hidden one, σ_w² and σ_b² of each, and whether X_l is added to its output (`skips`)."""

    activations: Sequence[Activation]
    sigma_w2: Sequence[float]
    sigma_b2: Sequence[float]
    batch_norm: BatchNorm | None = None
    skips: Sequence[bool] | None = None

    def __post_init__(self) -> None:
        hidden, depth = len(self.activations), len(self.sigma_w2)
        skips = depth if self.skips is None else len(self.skips)
        if not hidden + 1 == depth == len(self.sigma_b2) == skips:
            raise ValueError(
                f"{hidden} hidden activations need {hidden + 1} layers, but there are {depth} sigma_w2, "
                f"{len(self.sigma_b2)} sigma_b2 and {skips} skips; give one a layer"
            )


def skips_of(widths: Sequence[int]) -> tuple[bool, ...]:
    """The lecture's X_{l+1} = σ(X_l W_l) + X_l, around each layer 2 … L−1 with k_l = k_{l+1}."""
    depth = len(widths) - 1
    return tuple(0 < l < depth - 1 and k == k_next for l, (k, k_next) in enumerate(pairwise(widths)))


@dataclass(frozen=True)
class Profile:
    """One number a layer, [L], means over examples: `q` of z_l², `mean` and `mean_square` of its outputs (of z_L at the
    end), `log_delta2` = ln of the mean ‖δ_l‖² over that of the last layer.
    """

    q: Numbers
    mean: Numbers
    mean_square: Numbers
    log_delta2: Numbers

    @property
    def std(self) -> Numbers:
        """Standard deviation of the outputs over examples and units, [L]."""
        return np.sqrt(np.maximum(self.mean_square - self.mean**2, 0))

    @property
    def factors(self) -> Numbers:
        """‖δ_l‖/‖δ_{l+1}‖ of each layer but the last, [L − 1]: the factor of the norm, not of its square."""
        return np.exp(-np.diff(self.log_delta2) / 2)


def predict(architecture: Architecture, mean_squares: ArrayLike) -> Profile:
    """The profile of wide layers with independent weights; `mean_squares` are the examples' mean x².

    Some hundred examples are enough, and take a fraction of a second.

    Forward, p = E X_l²: q = σ_w² p + σ_b², and with a skip p′ = p + E σ² + 2 E X·E σ, where the mean E X grows too.
    Backward, G = ‖∂ℓ/∂X_{l+1}‖²: ‖δ_l‖² = g·G with g = E σ′(z)², and then G′ = σ_w²‖δ_l‖², with a skip + G; so
    ∂ℓ/∂X grows by 1 + σ_w² E σ′² a layer (Yang & Schoenholz 2017; weights and gates taken as independent: right for
    tanh and sigmoid, a lower bound for ReLU at usual widths). With batch norm and B → ∞, g is E σ′²/(variance of what
    is normalised), which makes E σ′²/Var σ a layer (Yang et al. 2019); small batches explode faster. Inputs are then
    taken as standardised and independent.
    """
    p = np.atleast_1d(np.asarray(mean_squares, float))
    if architecture.batch_norm:
        p = p.mean(keepdims=True)  # what a unit is divided by is common to all examples
    layers = list(zip(architecture.sigma_w2, architecture.sigma_b2, strict=True))
    skips = architecture.skips or [False] * len(layers)
    x_mean, variance = np.zeros_like(p), p
    rows: list[tuple[Numbers, Numbers, Numbers]] = []
    gates: list[Numbers] = []
    for (w2, b2), skip, one in zip(layers, skips, architecture.activations, strict=False):
        q = w2 * p + b2
        mean, square, gate, spread = _layer(one, architecture.batch_norm, q, w2 * variance, b2)
        variance = spread + variance if skip else spread
        p, x_mean = (p + square + 2 * x_mean * mean, x_mean + mean) if skip else (square, mean)
        rows.append((q, x_mean, p))
        gates.append(gate)
    q = layers[-1][0] * p + layers[-1][1]
    rows.append((q, np.zeros_like(q), q))
    lengths, means, squares = np.array([[float(np.mean(quantity)) for quantity in row] for row in rows]).T
    return Profile(lengths, means, squares, _log_delta2(gates, [w2 for w2, _ in layers], skips, len(p)))


def _layer(
    one: Activation, norm: BatchNorm | None, q: Numbers, batch_variance: Numbers, b2: float
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Of a hidden layer, before a skip: mean and mean square of its outputs, g of ‖δ‖², their variance over the batch.

    `q` is the mean z², `batch_variance` the variance of z over the batch.
    """
    if norm and norm.placement == "after":
        return _normalised_after(one, batch_variance, b2, norm.epsilon)
    divisor = batch_variance + norm.epsilon if norm else np.ones(1)
    length = batch_variance / divisor if norm else q
    mean, square = gaussian_mean(one.value, length, one.kinks), mean_square(one, length)
    return mean, square, mean_square_slope(one, length) / divisor, square - mean**2


def _normalised_after(
    one: Activation, batch_variance: Numbers, b2: float, epsilon: float
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """As `_layer`; over the batch each unit's z is normal around its bias, so what divides it differs between units."""
    kinks = one.kinks

    def spread(b: Numbers) -> Numbers:
        mean = gaussian_mean(one.value, batch_variance, kinks, b)
        return gaussian_mean(lambda z: one.value(z) ** 2, batch_variance, kinks, b) - mean**2

    def gate(b: Numbers) -> Numbers:
        squares = gaussian_mean(lambda z: one.derivative(z) ** 2, batch_variance, kinks, b)
        return squares / (spread(b) + epsilon)

    def variance(b: Numbers) -> Numbers:
        return spread(b) / (spread(b) + epsilon)

    gates, variances = (gaussian_mean(f, [b2]) if b2 else f(np.zeros(1)) for f in (gate, variance))
    return np.zeros(1), variances, gates, variances


def _log_delta2(gates: Sequence[Numbers], w2: Sequence[float], skips: Sequence[bool], examples: int) -> Numbers:
    """ln of the mean over examples of ‖δ_l‖²/‖δ_L‖², [L]; kept as logarithms, which no depth makes 0."""
    with np.errstate(divide="ignore"):
        log_w2, log_gates = np.log(w2), [np.log(gate) for gate in gates]
    log_g = np.full(examples, log_w2[-1])
    found = [0.0]
    for l in reversed(range(len(gates))):
        log_delta2 = log_gates[l] + log_g
        found.append(float(logsumexp(log_delta2)) - math.log(examples))
        log_g = np.logaddexp(log_w2[l] + log_delta2, log_g) if skips[l] else log_w2[l] + log_delta2
    return np.array(found[::-1])

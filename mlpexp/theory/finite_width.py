"""What a finite width adds: spread over seeds, layers and units that are born dead.

Flow: mean_field → **finite_width**.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from mlpexp.theory.activations import Activation
from mlpexp.theory.integrals import Numbers, gaussian_mean
from mlpexp.theory.mean_field import mean_square_slope


def log_delta2_variance(activations: Sequence[Activation], q: Sequence[float], hidden_widths: Sequence[int]) -> Numbers:
    """Variance over seeds of ln(‖δ_l‖²/‖δ_L‖²) for one input, [L]: the sum of c/k over the hidden layers above l.

    One layer sums k independent terms (σ′ g)², g normal, so c = 3 E[σ′⁴]/E[σ′²]² − 1: 5 for ReLU (Hanin 2018), 2 where
    σ′ is constant. First order in 1/k; that lengths fluctuate too is left out (it does not matter where σ′ depends on
    the sign of z alone). The mean of the logarithm lies half the variance below the logarithm of the mean.
    """
    terms = [
        (3 * _fourth_moment_of_slopes(one, length) / float(mean_square_slope(one, length)) ** 2 - 1) / k
        for one, length, k in zip(activations, q, hidden_widths, strict=True)
    ]
    return np.concatenate([np.cumsum(terms[::-1])[::-1], [0.0]])


def _fourth_moment_of_slopes(one: Activation, q: float) -> float:
    """E[σ′(z)⁴], z ~ N(0, q)."""
    return float(gaussian_mean(lambda z: one.derivative(z) ** 4, q, one.kinks))


def dead_layer_probability(hidden_widths: Sequence[int]) -> float:
    """Probability that one input switches off a whole layer of a ReLU network with symmetric weights and no bias.

    1 − Π(1 − 2^−k): each z is negative with probability 1/2, whatever came before. For a whole data set it is the
    upper bound of Lu, Shin, Su & Karniadakis (2019): the network is then born dead, constant, without gradient.
    """
    return -math.expm1(sum(math.log1p(-(2.0**-k)) for k in hidden_widths))


def dead_unit_share(correlation: ArrayLike, examples: int) -> Numbers:
    """Expected share of ReLU units that are off for every one of n examples, each pair of which has correlation c ≥ 0.

    z = √q(√c t + √(1 − c) u): with t common to all examples, they are off independently, so the share is
    E_t[Φ(−t√(c/(1 − c)))ⁿ]. It is 2⁻ⁿ at c = 0 and 1/2 at c = 1; two examples give 1/4 + arcsin(c)/2π.
    """
    c = np.asarray(correlation, float)
    alike = c >= 1
    odds = np.where(alike, 0.0, c) / np.where(alike, 1.0, 1 - c)
    return np.where(alike, 0.5, gaussian_mean(lambda t: ndtr(-t) ** examples, odds))

"""One layer after another in the limit of wide layers: lengths, correlations, gradients.

Flow: integrals → **mean_field** → criticality, profiles. Var(W_l) = σ_w²/k_l, Var(b) = σ_b²; q is the mean of z² over
the units of a layer, for one example (Poole et al. 2016; Schoenholz et al. 2017).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from mlpexp.theory.activations import Activation
from mlpexp.theory.integrals import LEAST, Function, Numbers, gaussian_mean, pair_mean

LENGTHS = np.concatenate([[0.0], np.logspace(-8, 8, 641)])
"""Where fixed points are looked for; between two neighbours at most one is seen."""
ROUNDING = 1e-11
"""Integrals that differ by less than this fraction are taken as equal."""


@dataclass(frozen=True)
class FixedPoint:
    """A length q* that a layer keeps; `slope` is dq_{l+1}/dq_l there, `chi` its χ. If stable, lengths near it stay."""

    q: float
    slope: float
    chi: float
    stable: bool


@dataclass(frozen=True)
class MeanField:
    """A wide layer: σ, then weights of variance σ_w²/k, k their number into one unit, and biases of variance σ_b²."""

    activation: Activation
    sigma_w2: float
    sigma_b2: float = 0.0

    def length(self, q: ArrayLike) -> Numbers:
        """The length map q_{l+1} = σ_w² E[σ(√q_l u)²] + σ_b² (Poole et al. 2016, equation 3)."""
        return self.sigma_w2 * mean_square(self.activation, q) + self.sigma_b2

    def length_slope(self, q: ArrayLike) -> Numbers:
        """dq_{l+1}/dq_l = σ_w² E[σ(z)σ′(z)z]/q, z = √q u: the length map, differentiated under the integral."""
        one, lengths = self.activation, np.maximum(np.asarray(q, float), LEAST)
        product = gaussian_mean(lambda z: one.value(z) * one.derivative(z) * z, lengths, one.kinks)
        return np.asarray(self.sigma_w2 * product / lengths)

    def chi(self, q: ArrayLike) -> Numbers:
        """χ = σ_w² E[σ′(√q u)²], the factor of ‖δ‖² from one layer to the one below (Schoenholz et al. 2017, eq. 14).

        Above 1 gradients explode towards the input, below they vanish.
        """
        return self.sigma_w2 * mean_square_slope(self.activation, q)

    @cached_property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """Every q* between 0 and 1e8 with q* = σ_w² E[σ(√q* u)²] + σ_b², in rising order.

        Where every length is kept, as by ReLU with σ_w² = 2 and σ_b = 0, only q* = 0 is listed, with slope 1.
        """
        places = roots(lambda q: self.length(q) - q)
        return tuple(FixedPoint(q, float(self.length_slope(q)), float(self.chi(q)), self.keeps(q)) for q in places)

    def keeps(self, q: float) -> bool:
        """Whether lengths near the fixed point q come no further from it (stable, or every length is kept)."""
        near = np.array([0.999 * q, 1.001 * q]) if q > 0 else np.array([1e-6])
        return bool(np.all(np.abs(self.length(near) - q) <= np.abs(near - q) + ROUNDING * near))

    def correlation(self, c: ArrayLike, q: float) -> Numbers:
        """The correlation map: c_{l+1} of two examples of length q whose z have the correlation c (each in [−1, 1]).

        c′ = (σ_w² E[σ(z)σ(z′)] + σ_b²)/(σ_w² E[σ(z)²] + σ_b²) (Poole et al. 2016, equation 5).
        """
        one = self.activation
        together = np.vectorize(lambda one_c: pair_mean(one.value, one.value, (q, q), one_c, one.kinks), otypes=[float])
        return np.asarray((self.sigma_w2 * together(np.asarray(c, float)) + self.sigma_b2) / self.length(q))

    def correlation_fixed_point(self, q: float) -> float:
        """The stable c* of lengths q: 1 while χ ≤ 1 (an ordered layer makes all examples alike), else below."""
        near = 1 - 1e-6
        excess = float(self.correlation(near, q)) - near
        if excess >= 0:
            return 1.0
        return root(lambda c: float(self.correlation(c, q)) - c, 0.0, near, xtol=1e-10)


def root(f: Callable[[float], float], left: float, right: float, **precision: float) -> float:
    """Where f is 0 between two places at which its signs differ."""
    from scipy.optimize import brentq  # a tenth of a second, which processes that train need not wait for

    return float(brentq(f, left, right, **precision))


def mean_square(activation: Activation, q: ArrayLike) -> Numbers:
    """E[σ(√q u)²]."""
    return gaussian_mean(lambda z: activation.value(z) ** 2, q, activation.kinks)


def mean_square_slope(activation: Activation, q: ArrayLike) -> Numbers:
    """E[σ′(√q u)²]."""
    return gaussian_mean(lambda z: activation.derivative(z) ** 2, q, activation.kinks)


def depth_scale(chi: float) -> float:
    """ξ = 1/|ln χ|, the number of layers over which ‖δ‖² changes by e (Schoenholz et al. 2017); infinite at χ = 1."""
    return 1 / abs(math.log(chi)) if chi not in (0, 1) else (math.inf if chi == 1 else 0.0)


def roots(f: Function) -> list[float]:
    """Where a function of the length is 0: q = 0, and between neighbours of LENGTHS where it changes its sign."""
    found = f(LENGTHS)
    zero = [0.0] if abs(found[0]) < LEAST * 1e5 else []
    clear = np.flatnonzero(np.abs(found) > np.maximum(ROUNDING * LENGTHS, LEAST * 1e5))  # else a rounding of zero

    def solved(left: float, right: float) -> float:
        return root(lambda q: float(f(np.asarray(q))), left, right, xtol=1e-15, rtol=1e-13)

    brackets = [(LENGTHS[i], LENGTHS[j]) for i, j in pairwise(clear) if found[i] * found[j] < 0]
    return zero + [solved(float(left), float(right)) for left, right in brackets]

"""Gaussian means E[f(m + √q u)], u ~ N(0, 1), to 1e-10 also where f has kinks or is steep.

Flow: **integrals** → mean_field → profiles. The line is cut at zero and at every kink, and each piece integrated by the
double exponential rule (Takahasi & Mori 1974), whose nodes crowd at the cuts: a kink costs nothing, and neither does a
σ that is steep beside a wide Gaussian. Gauss–Hermite alone is right to some 1e-3 at a kink, whatever its order.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Numbers = NDArray[np.float64]
Function = Callable[[Numbers], Numbers]

ACCURACY = 1e-12
"""Two rules, one with twice the nodes of the other, agree to this fraction of E|f|, or to TINY."""
TINY = 1e-200
FAR = 12.0
"""The Gaussian ends here: what lies beyond has the probability 4e-33."""
LEAST = 1e-30
"""A variance of zero is taken as this one: a kink at the mean then keeps both of its sides."""


class Unreachable(ValueError):
    """An integral whose accuracy cannot be reached, as of a function with a kink that was not named."""


def gaussian_mean(f: Function, variance: ArrayLike, kinks: Sequence[float] = (), mean: ArrayLike = 0.0) -> Numbers:
    """E[f(mean + √variance·u)], of the shape that mean and variance have together.

    `f` is elementwise and analytic but at `kinks`, where it or a derivative may jump. Raises Unreachable.
    """
    m, spread = np.broadcast_arrays(np.asarray(mean, float), np.sqrt(np.maximum(np.asarray(variance, float), LEAST)))
    cuts = np.array(sorted({0.0, *kinks}))
    inner = np.clip((cuts - m[..., None]) / spread[..., None], -FAR, FAR)
    edges = np.concatenate([np.full((*m.shape, 1), -FAR), inner, np.full((*m.shape, 1), FAR)], axis=-1)

    def f_of(u: Numbers, at: tuple[Numbers, Numbers]) -> Numbers:
        return f(at[0][..., None, None] + at[1][..., None, None] * u)

    found, open_ones = np.empty(m.shape), np.ones(m.shape, dtype=bool)
    before = np.full(m.shape, np.nan)
    for step in 0.5 ** np.arange(3, 10):
        place = (m[open_ones], spread[open_ones])
        total, size = _rule(partial(f_of, at=place), edges[open_ones], step)
        found[open_ones] = total
        moved = np.abs(total - before[open_ones])
        before[open_ones] = total
        open_ones[open_ones] = ~(moved <= ACCURACY * size + TINY)
        if not open_ones.any():
            return found
    i = np.argmax(open_ones)
    way_out = "f is not finite there" if not np.isfinite(before.flat[i]) else "name the kinks of f"
    raise Unreachable(f"E f(m + √q u) is not reached at m={m.flat[i]:.3g}, q={spread.flat[i] ** 2:.3g}; {way_out}")


def _rule(f: Function, edges: Numbers, step: float) -> tuple[Numbers, Numbers]:
    """The double exponential rule on the pieces between edges [..., pieces + 1]: sums of f and of |f|, [...]."""
    t = np.arange(-3.4, 3.4 + step / 2, step)
    near, far = expit(np.pi * np.sinh(t)), expit(-np.pi * np.sinh(t))
    left, right = edges[..., :-1, None], edges[..., 1:, None]
    u = np.where(near < 0.5, left + (right - left) * near, right - (right - left) * far)  # from the nearer edge
    weights = (right - left) * (step * np.pi * np.cosh(t) * near * far) * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)
    terms = weights * f(u)
    return terms.sum(axis=(-2, -1)), np.abs(terms).sum(axis=(-2, -1))


def pair_mean(
    f: Function, g: Function, variances: tuple[float, float], correlation: float, kinks: Sequence[float] = ()
) -> float:
    """E[f(z)g(z′)] of two Gaussians of mean zero, given their variances and their correlation.

    z′ is √q′(c u + √(1 − c²) v): its mean over v is a function of u that is steep where c u passes a kink, so the outer
    integral is cut there too.
    """
    (q, q_other), c = variances, correlation
    root, slope = np.sqrt(max(q, LEAST)), np.sqrt(max(q_other, LEAST)) * c
    if abs(c) > 1 - 1e-15:
        both = [kink / scale for kink in kinks for scale in (root, slope)]
        return float(gaussian_mean(lambda u: f(root * u) * g(slope * u), 1.0, both))
    cuts = [kink / scale for kink in kinks for scale in (root, slope) if scale]

    def outer(u: Numbers) -> Numbers:
        return f(root * u) * gaussian_mean(g, q_other * (1 - c * c), kinks, mean=slope * u)

    return float(gaussian_mean(outer, 1.0, cuts))

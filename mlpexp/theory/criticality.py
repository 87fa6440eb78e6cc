"""The critical line σ_w²(σ_b²): where χ = 1 at a length that lasts.

Flow: mean_field → **criticality**. There signals reach any depth (Schoenholz et al. 2017; Hayou et al. 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlpexp.theory.activations import Activation
from mlpexp.theory.integrals import Numbers
from mlpexp.theory.mean_field import LENGTHS, MeanField, mean_square, mean_square_slope, roots


class NotCritical(ValueError):
    """No stable critical point: the message says why."""


@dataclass(frozen=True)
class Critical:
    """A point of the critical line, and the length q* that it keeps."""

    sigma_w2: float
    sigma_b2: float
    q: float


def critical(activation: Activation, sigma_b2: float = 0.0) -> Critical:
    """The stable point with χ = 1, the one of the smallest length if there are several; raises NotCritical.

    At length q, χ = 1 means σ_w² = 1/E[σ′²]; the length lasts where E[σ²]/E[σ′²] + σ_b² = q. So one equation in q is
    solved, and of its roots those are kept near which lengths stay.
    """
    if not np.all(mean_square_slope(activation, LENGTHS) > 0):
        raise NotCritical(f"{activation.name} has no critical point: its derivative is 0")
    points = [
        Critical(1 / float(mean_square_slope(activation, q)), sigma_b2, q) for q in _lengths(activation, sigma_b2)
    ]
    for point in points:
        if MeanField(activation, point.sigma_w2, sigma_b2).keeps(point.q):
            return point
    raise NotCritical(_why(activation, sigma_b2, points))


def _lengths(activation: Activation, sigma_b2: float) -> list[float]:
    """Every length that χ = 1 would keep."""

    def excess(q: Numbers) -> Numbers:
        return mean_square(activation, q) / mean_square_slope(activation, q) + sigma_b2 - q

    return roots(excess)


def _why(activation: Activation, sigma_b2: float, points: Sequence[Critical]) -> str:
    start = f"{activation.name} has no stable critical point at σ_b² = {sigma_b2:g}: "
    if points:
        places = " and ".join(f"σ_w² = {point.sigma_w2:.4g}, q = {point.q:.4g}" for point in points)
        return f"{start}χ = 1 at {places}, but lengths near it move away"
    if sigma_b2 > 0 and _lengths(activation, 0.0):
        return f"{start}where χ = 1, lengths grow from layer to layer; with σ_b = 0 there may be one"
    return f"{start}where χ = 1, every length grows from layer to layer (E σ² > q·E σ′² at every q)"


def critical_line(activation: Activation, sigma_b2: Sequence[float]) -> Numbers:
    """The critical σ_w² at each σ_b²; NaN where there is none."""

    def at(one: float) -> float:
        try:
            return critical(activation, one).sigma_w2
        except NotCritical:
            return np.nan

    return np.array([at(one) for one in sigma_b2])

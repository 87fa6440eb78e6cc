"""Logistic regression by (penalised) maximum likelihood: the smooth perceptron, and a network of depth 1.

Flow: examples → **logistic_regression** → chapters, which compare it with a network that mlpexp trained.

D. R. Cox, J. R. Stat. Soc. B 20 (1958) 215–242. P(y = 1 | x) = 1/(1 + exp(−z)), z = b + w·x. The objective is what
`training.loss=cross_entropy` with `training.l2=λ` minimises: the mean over examples of −ln P, plus λ/2 ‖w‖²; the bias
is free. Parameters are (b, w_1, …, w_q).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize
from scipy.special import expit

from mlpexp.refusals import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likelihood:
    """The objective of one set of examples: `inputs` [n, q + 1] with the bias's ones, `labels` [n] of 0 and 1."""

    inputs: Floats
    labels: NDArray[np.int64]
    l2: float

    @classmethod
    def of(cls, features: Floats, labels: NDArray[np.int64], l2: float = 0.0) -> "Likelihood":
        """For features [n, q]."""
        return cls(np.column_stack([np.ones(len(features)), features]), labels, l2)

    @property
    def penalised(self) -> Floats:
        """λ for each parameter; the bias is free."""
        found: Floats = np.full(self.inputs.shape[1], float(self.l2))
        found[0] = 0.0
        return found

    def value(self, parameters: Floats) -> float:
        """Mean of ln(1 + exp(−z)) for y = 1 and ln(1 + exp(z)) for y = 0, plus the penalty."""
        signed = np.where(self.labels == 1, 1.0, -1.0) * (self.inputs @ parameters)
        return float(np.logaddexp(0, -signed).mean() + (self.penalised * parameters**2).sum() / 2)

    def gradient(self, parameters: Floats) -> Floats:
        """Mean of (p − y) x, plus the penalty's: zero at the estimate, whoever found it."""
        errors = expit(self.inputs @ parameters) - self.labels
        found: Floats = self.inputs.T @ errors / len(errors) + self.penalised * parameters
        return found

    def curvature(self, parameters: Floats) -> Floats:
        """The Hessian, mean of p(1 − p) x xᵀ, plus the penalty's."""
        p = expit(self.inputs @ parameters)
        found: Floats = (self.inputs * (p * (1 - p))[:, None]).T @ self.inputs / len(p) + np.diag(self.penalised)
        return found

    @property
    def steepest_curvature(self) -> float:
        """No curvature exceeds this, wherever one stands: gradient descent with γ = 1/this never overshoots."""
        highest = np.linalg.eigvalsh(self.inputs.T @ self.inputs / len(self.inputs) / 4 + np.diag(self.penalised))
        return float(highest[-1])


def fit(likelihood: Likelihood) -> Floats:
    """The parameters of maximum likelihood, [q + 1]; raises ConfigError where there is no maximum.

    scipy's trust region with the exact Hessian: its last steps are Newton's, so the gradient ends at rounding.
    """
    if len(np.unique(likelihood.labels)) < 2:  # the bias has no penalty
        raise ConfigError(["all training examples are of one class: the bias would grow for ever; use more examples"])
    if likelihood.l2 == 0 and separating_direction(likelihood) is not None:
        raise ConfigError([
            "a plane separates the classes, so without a penalty the likelihood has no maximum:",
            "it rises for ever as the weights grow; give a penalty, as --l2 0.01",
        ])  # fmt: skip
    start = np.zeros(likelihood.inputs.shape[1])
    found = minimize(
        likelihood.value, start, jac=likelihood.gradient, hess=likelihood.curvature, method="trust-exact",
        options={"gtol": 1e-6, "maxiter": 1000},
    ).x  # fmt: skip
    for _ in range(3):  # from here on Newton's step squares what is missing
        found = found - np.linalg.lstsq(likelihood.curvature(found), likelihood.gradient(found), rcond=None)[0]
    return np.asarray(found)


def separating_direction(likelihood: Likelihood) -> Floats | None:
    """A direction along which no example's likelihood falls and some rise, for ever: then there is no maximum.

    Albert & Anderson, Biometrika 71 (1984) 1–10: complete or quasi-complete separation. Found by a linear programme
    (Konis 2007): maximise Σ s x·v over −1 ≤ v ≤ 1 with s x·v ≥ 0 for each example, s = ±1 its label. None where the
    largest sum is zero: the classes overlap.
    """
    signs = np.where(likelihood.labels == 1, 1.0, -1.0)
    scale = np.abs(likelihood.inputs).max(axis=0)
    signed = signs[:, None] * likelihood.inputs / np.where(scale > 0, scale, 1.0)
    found = linprog(-signed.mean(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1), method="highs")
    if found.status != 0:
        raise ArithmeticError(f"whether the classes overlap could not be decided: {found.message}")
    if -found.fun <= 1e-9:
        return None
    direction: Floats = found.x / np.where(scale > 0, scale, 1.0)
    return direction

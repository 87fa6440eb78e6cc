"""The lecture's last slide: among many solutions gradient descent finds particular ones; against linear algebra."""

from unittest import mock

import histories
import numpy as np
import pytest
from numpy.typing import NDArray

from mlpexp import lanes as lanes_module
from mlpexp.data import Dataset, Part, Parts

RATE = 0.02
N, Q = 12, 30
"""Fewer examples than weights: infinitely many weights fit exactly."""


def problem(rows: int = N) -> Parts:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((rows + 4, Q))
    targets = features @ generator.standard_normal((Q, 2)) + 0.5 * generator.standard_normal((rows + 4, 2))
    cuts = [slice(0, rows), slice(rows, rows + 2), slice(rows + 2, rows + 4)]
    parts = [Part(features[cut], targets[cut]) for cut in cuts]
    dataset = Dataset("made_up", "regression", features, targets, ())
    return Parts(dataset, parts[0], parts[1], parts[2], np.zeros(Q), np.ones(Q))


def examples(parts: Parts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X [n, q] and Y [n, k] of the training part."""
    return np.asarray(parts.training.features, np.float64), np.asarray(parts.training.targets, np.float64)


def descended(parts: Parts, updates: int) -> NDArray[np.float64]:
    """W [q, k] after so many updates of plain gradient descent on all examples, from W = 0."""
    config = histories.composed(
        "data=diabetes", "model.depth=1", "model.bias=false", "training.loss=mse", "training.dtype=float64",
        "training.sampler=full", f"training.updates={updates}", "training.epochs=null", "training.restore=final",
        "training.evaluate_every=100000", "optimizer=gradient_descent", f"optimizer.learning_rate={RATE}",
        "initialisation=normal", "initialisation.sigma_w=0", "measurements=none",
    )  # fmt: skip
    with mock.patch.object(lanes_module, "prepare", return_value=parts):
        (history,) = histories.trained([config])
    return np.asarray(history.ending.final, np.float64).reshape(Q, 2)


def test_gradient_descent_from_zero_finds_the_solution_of_least_norm() -> None:
    parts = problem()
    found = descended(parts, 20_000)
    x, y = examples(parts)
    least = np.linalg.pinv(x) @ y
    np.testing.assert_allclose(found, least, atol=1e-9)
    other = least + (np.eye(Q) - np.linalg.pinv(x) @ x) @ np.ones((Q, 2))
    np.testing.assert_allclose(x @ other, y, atol=1e-9)  # fits as well
    assert np.linalg.norm(found) < 0.9 * np.linalg.norm(other)


def singular(parts: Parts) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """V, the curvatures of the mean loss (1/n) Σ ‖y − f‖², and what least squares has along each direction."""
    x, y = examples(parts)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return np.asarray(vt.T, np.float64), np.asarray(2 * s**2 / len(x)), np.asarray((u.T @ y) / s[:, None])


@pytest.mark.parametrize("updates", [1, 30, 400])
def test_each_direction_is_learnt_at_its_own_pace(updates: int) -> None:
    """Direction v of curvature h has come 1 − (1 − γh)^t of its way."""
    parts = problem(60)
    directions, curvatures, solution = singular(parts)
    expected = directions @ ((1 - (1 - RATE * curvatures) ** updates)[:, None] * solution)
    np.testing.assert_allclose(descended(parts, updates), expected, atol=1e-11)


@pytest.mark.parametrize("updates", [10, 100, 1000])
def test_stopping_early_is_like_a_ridge(updates: int) -> None:
    """With λ = 1/(γt) a ridge shrinks the direction of curvature h to h/(h + λ), t updates to 1 − (1 − γh)^t.

    One number fits all directions: for small γ the two are never more than .204 apart, the largest of
    1 − e^{−a} − a/(1 + a), however different the directions are.
    """
    parts = problem(60)
    directions, curvatures, solution = singular(parts)
    assert curvatures.max() > 20 * curvatures.min()
    shrunk = (directions.T @ descended(parts, updates)) / solution
    ridge = curvatures / (curvatures + 1 / (RATE * updates))
    assert np.abs(shrunk - ridge[:, None]).max() < 0.21
    assert np.abs(shrunk - ridge[:, None] / 2).max() > 0.21  # which is no wide margin

"""Logistic regression by maximum likelihood, against closed forms, scikit-learn, and a network of depth 1."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mlpexp.lineage.chapters.logistic_regression import compare
from mlpexp.lineage.logistic_regression import Floats, Likelihood, fit, separating_direction
from mlpexp.refusals import ConfigError

DRAW = np.random.default_rng(0)
FEATURES = DRAW.normal(size=(120, 4)) * [1, 20, 0.1, 1]
LABELS = (DRAW.random(120) < 1 / (1 + np.exp(-FEATURES[:, 0] + 0.5))).astype(np.int64)


def test_one_binary_feature_has_its_estimate_in_closed_form() -> None:
    features = np.repeat([0.0, 1.0], [30, 50])[:, None]
    labels = np.concatenate([np.repeat([0, 1], [20, 10]), np.repeat([0, 1], [15, 35])])
    bias, weight = fit(Likelihood.of(features, labels))
    assert bias == pytest.approx(math.log(10 / 20), rel=1e-12)  # each cell's own odds
    assert bias + weight == pytest.approx(math.log(35 / 15), rel=1e-12)


@pytest.mark.parametrize("l2", [0.0, 1e-4, 0.1, 100.0])
def test_the_gradient_vanishes_at_the_estimate_and_scikit_learn_finds_the_same(l2: float) -> None:
    likelihood = Likelihood.of(FEATURES, LABELS, l2)
    estimate = fit(likelihood)
    assert np.abs(likelihood.gradient(estimate)).max() < 1e-14
    strength = 1 / (l2 * len(LABELS)) if l2 else np.inf
    theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(FEATURES, LABELS)
    assert estimate == pytest.approx([*theirs.intercept_, *theirs.coef_[0]], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradient_and_curvature_are_the_derivatives(l2: float) -> None:
    likelihood, at, h = Likelihood.of(FEATURES, LABELS, l2), np.array([0.3, -0.5, 0.02, 0.7, 0.1]), 1e-6
    steps = h * np.eye(5)
    slopes = [(likelihood.value(at + e) - likelihood.value(at - e)) / (2 * h) for e in steps]
    bends = [(likelihood.gradient(at + e) - likelihood.gradient(at - e)) / (2 * h) for e in steps]
    assert likelihood.gradient(at) == pytest.approx(slopes, rel=1e-6, abs=1e-8)
    assert likelihood.curvature(at) == pytest.approx(np.array(bends), rel=1e-6, abs=1e-8)
    assert np.linalg.eigvalsh(likelihood.curvature(at))[-1] <= likelihood.steepest_curvature


def test_the_value_is_the_mean_negative_log_likelihood() -> None:
    likelihood, at = Likelihood.of(FEATURES, LABELS, 0.5), np.array([0.1, 0.2, 0.0, -1.0, 0.3])
    total = 0.0
    for x, y in zip(FEATURES, LABELS, strict=True):
        p = 1 / (1 + math.exp(-(at[0] + at[1:] @ x)))
        total -= math.log(p if y else 1 - p)
    assert likelihood.value(at) == pytest.approx(total / len(LABELS) + 0.25 * (at[1:] ** 2).sum(), rel=1e-12)


SEPARABLE: list[tuple[Floats, NDArray[np.int64]]] = [
    (np.array([[-1.0], [-2.0], [1.0], [3.0]]), np.array([0, 0, 1, 1])),
    (np.array([[0.0], [1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])),  # quasi: both classes at 1
    (np.array([[1e-6, 5e8], [2e-6, 1e8], [3e-6, 2e8], [4e-6, 1e8]]), np.array([0, 0, 1, 1])),
]
OVERLAPPING: list[tuple[Floats, NDArray[np.int64]]] = [
    (np.array([[-1.0], [1.0], [0.0], [3.0]]), np.array([0, 0, 1, 1])),
    (np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]), np.array([0, 1, 1, 0])),  # XOR
    (FEATURES, LABELS),
    (np.array([[1.0], [1.0]]), np.array([0, 1])),
]


@pytest.mark.parametrize(("features", "labels"), SEPARABLE)
def test_separable_classes_have_no_maximum_without_a_penalty(features: Floats, labels: NDArray[np.int64]) -> None:
    likelihood = Likelihood.of(features, labels)
    direction = separating_direction(likelihood)
    assert direction is not None
    values = [likelihood.value(scale * direction) for scale in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert (np.diff(values) < 0).all()  # it falls along that direction, for ever
    with pytest.raises(ConfigError, match=r"no maximum(.|\n)*--l2"):
        fit(likelihood)
    penalised = Likelihood.of(features, labels, 0.01)
    assert np.linalg.norm(penalised.gradient(fit(penalised))) < 1e-9 * np.abs(features).max()


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_one_class_alone_is_refused(l2: float) -> None:
    with pytest.raises(ConfigError, match="one class"):
        fit(Likelihood.of(FEATURES, np.ones(120, dtype=np.int64), l2))


@pytest.mark.parametrize(("features", "labels"), OVERLAPPING)
def test_overlapping_classes_have_one(features: Floats, labels: NDArray[np.int64]) -> None:
    likelihood = Likelihood.of(features, labels)
    assert separating_direction(likelihood) is None
    estimate = fit(likelihood)
    assert np.abs(likelihood.gradient(estimate)).max() < 1e-12


def test_a_network_of_depth_1_becomes_the_estimate(tmp_path: Path) -> None:
    found = compare(["data=breast_cancer"], 0.03, 600, tmp_path)
    assert found.last.config.model.depth == 1
    assert found.last.status == "finished"
    assert found.trained[-1] == pytest.approx(found.estimate, rel=1e-9, abs=1e-11)
    assert found.slopes[-1] < 1e-12
    assert found.distances[0] > 0.1  # it did not start there
    assert (np.diff(found.distances[-4:]) < 0).all() or found.distances[-2] < 1e-12

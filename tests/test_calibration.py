"""Brier score and calibration error against scikit-learn and a loop over bins, one lane at a time."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from mlpexp.kernel.calibration import CALIBRATION_BINS, calibration_error, confidences, squared_errors
from mlpexp.kernel.losses import OUTPUTS, correct

R = 3


def drawn(n: int, k: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """z [R, n, k] and labels [R, n]."""
    generator = torch.Generator().manual_seed(n + k)
    z = 2 * torch.randn(R, n, k, generator=generator, dtype=torch.float64)
    return z.to(dtype), torch.randint(max(k, 2), (R, n), generator=generator)


def one_hot(labels: torch.Tensor, k: int) -> torch.Tensor:
    return labels[..., None].double() if k == 1 else torch.nn.functional.one_hot(labels, k).double()


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_brier_score_equals_scikit_learns(k: int, dtype: torch.dtype) -> None:
    z, labels = drawn(101, k, dtype)
    output = "sigmoid" if k == 1 else "softmax"
    found = squared_errors(z, one_hot(labels, k), output).sum(dim=1) / 101
    for lane in range(R):
        f = OUTPUTS[output].value(z.double())[lane].numpy()
        own = labels[lane].numpy()
        probabilities = f[:, 0] if k == 1 else f
        expected = brier_score_loss(own, probabilities, scale_by_half=k == 1, labels=list(range(max(k, 2))))
        assert float(found[lane]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [1, 7, 15, 100, 1000])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_calibration_error_equals_a_loop_over_bins(n: int, k: int) -> None:
    z, labels = drawn(n, k)
    output = "sigmoid" if k == 1 else "softmax"
    right = correct(z, labels, output)
    found = calibration_error(confidences(z, output), right)
    for lane in range(R):
        f = OUTPUTS[output].value(z)[lane].numpy()
        both = np.concatenate([1 - f, f], axis=1) if k == 1 else f
        confidence, hit = both.max(axis=1), both.argmax(axis=1) == labels[lane].numpy()
        order = np.argsort(confidence, kind="stable")
        bounds = [n * b // CALIBRATION_BINS for b in range(CALIBRATION_BINS + 1)]
        expected = 0.0
        for a, b in itertools.pairwise(bounds):
            rows = order[a:b]
            if len(rows):
                expected += len(rows) / n * abs(hit[rows].mean() - confidence[rows].mean())
        assert float(found[lane]) == pytest.approx(expected, rel=1e-10)


def test_bins_hold_equally_many_examples() -> None:
    bounds = [1000 * b // CALIBRATION_BINS for b in range(CALIBRATION_BINS + 1)]
    assert {b - a for a, b in itertools.pairwise(bounds)} == {66, 67}


def test_an_honest_forecast_has_no_calibration_error_and_a_boastful_one_has() -> None:
    """Confidence 0.7 with seven of ten right, in any order inside a bin."""
    right = torch.tensor([[True] * 7 + [False] * 3]).repeat(1, 150)
    assert float(calibration_error(torch.full((1, 1500), 0.7, dtype=torch.float64), right)) < 1e-12
    boast = torch.full((1, 1500), 0.9, dtype=torch.float64)
    assert float(calibration_error(boast, right)) == pytest.approx(0.2)

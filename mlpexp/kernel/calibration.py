"""How honest the outputs are as probabilities, of whole parts of the data: Brier score and calibration error, [R]."""

from itertools import pairwise

import torch
from torch import Tensor

from mlpexp.kernel.losses import OUTPUTS

CALIBRATION_BINS = 15


def squared_errors(z: Tensor, targets: Tensor, output: str) -> Tensor:
    """Σ_k (f_k − y_k)² of each example, [R, B], in double precision; their mean is the Brier score (Brier 1950).

    With a single output it is (f − y)², half of the sum over both classes.
    """
    return torch.square(OUTPUTS[output].value(z.to(torch.float64)) - targets).sum(dim=2)


def confidences(z: Tensor, output: str) -> Tensor:
    """Probability of the predicted class, [R, B], in double precision: the largest f, or of f and 1 − f."""
    f = OUTPUTS[output].value(z.to(torch.float64))
    if f.shape[2] > 1:
        return f.amax(dim=2)
    f = f[:, :, 0]
    return torch.where(f > 0.5, f, 1 - f)


def calibration_error(confidence: Tensor, right: Tensor) -> Tensor:
    """Expected calibration error, [R]: Σ_b n_b/n |accuracy − mean confidence| over 15 bins of equally many examples.

    `confidence` and `right` are [R, n]. Naeini et al. 2015; bins of equal mass after Nguyen & O'Connor 2015.
    """
    ordered, places = torch.sort(confidence, dim=1, stable=True)
    differences = ordered - right.gather(1, places).to(ordered.dtype)
    n = differences.shape[1]
    bounds = [n * b // CALIBRATION_BINS for b in range(CALIBRATION_BINS + 1)]
    totals = [differences[:, a:b].sum(dim=1).abs() for a, b in pairwise(bounds)]
    return torch.stack(totals, dim=1).sum(dim=1) / n

"""Norms and sums against NumPy in double precision: numbers of any size, and which of them are summed once more."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpexp.kernel import norms as module
from mlpexp.kernel.norms import norms, row_norms, sums

SCALES = [0.0, 1e-38, 1e-30, 1e-20, 3e-13, 1e-6, 1.0, 1e10, 1e17, 1e19, 1e30]


def blocks(scales: list[float]) -> list[Tensor]:
    """Two blocks [scale, 3, 40] and [scale, 2, 7]: one row of each for every scale."""
    draw = np.random.default_rng(0)
    column = np.array(scales)[:, None, None]
    return [
        torch.from_numpy((draw.normal(size=(len(scales), *shape)) * column).astype(np.float32))
        for shape in ((3, 40), (2, 7))
    ]


def test_norms_of_any_size_are_those_of_doubles() -> None:
    found = norms(blocks(SCALES), 1, join=1)
    expected = np.concatenate([np.linalg.norm(one.numpy().astype(float), axis=2) for one in blocks(SCALES)], axis=1)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_sums_of_any_size_are_those_of_doubles() -> None:
    found = sums(blocks([0.0, 1e-30, 1.0, 1e30, 3e38 / 5]), 2)
    own = [one.numpy().astype(float) for one in blocks([0.0, 1e-30, 1.0, 1e30, 3e38 / 5])]
    sizes = np.concatenate([np.abs(one).sum(axis=(1, 2)) for one in own])
    assert (np.abs(found.numpy() - np.concatenate([one.sum(axis=(1, 2)) for one in own])) <= 1e-6 * sizes).all()


def test_what_is_not_finite_stays_so() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, torch.nan], [torch.inf, 0.0], [1e25, 1e25]])
    found = norms([rows], 1)
    assert found[0].item() == pytest.approx(5**0.5)
    assert torch.isnan(found[1])
    assert torch.isinf(found[2])
    assert found[3].item() == pytest.approx(2**0.5 * 1e25)


def test_each_result_is_chosen_by_itself_and_only_what_needs_it_is_summed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again: list[int] = []
    plain = module.vector_norm

    def counting(x: Tensor, **options: object) -> Tensor:
        if options.get("dtype") is torch.float64:
            again.append(len(x))
        found: Tensor = plain(x, **options)
        return found

    monkeypatch.setattr(module, "vector_norm", counting)
    large = blocks([1.0, 2.0, 3.0])[0]
    alone = norms([large], 2)
    assert not again
    mixed = norms([torch.cat([large, 1e-25 * large[:1]])], 2)
    assert again == [1]
    assert torch.equal(mixed[:3], alone)  # to the bit: whoever else is there
    assert mixed[3].item() == pytest.approx(1e-25 * alone[0].item(), rel=1e-5)


def test_doubles_are_summed_once() -> None:
    rows = torch.tensor([[3e-30, 4e-30]], dtype=torch.float64)
    assert norms([rows], 1).item() == pytest.approx(5e-30)
    assert sums([rows], 1).item() == pytest.approx(7e-30)


def test_rows_are_those_of_doubles_beside_their_common_norm() -> None:
    rows = blocks([0.0, 1e-30, 1e-12, 1.0, 1e30])
    rows[0][3, 1] = 0
    rows[0][4, 1] *= 1e-30
    found = row_norms(rows[:1])
    expected = np.linalg.norm(rows[0].numpy().astype(float), axis=2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert found[1].min() > 0
    rows[0][3, 2] *= 1e-25  # lost beside the other rows of its lane
    error = row_norms(rows[:1])[3] - torch.linalg.vector_norm(rows[0][3], dim=1, dtype=torch.float64)
    assert error.abs().max() < 1e-6

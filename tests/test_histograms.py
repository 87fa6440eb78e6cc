"""Histograms equal numpy's, count every finite value once, whatever the range, and nothing that is not finite."""

from contextlib import nullcontext

import histories
import numpy as np
import pytest
import torch
from measured_steps import SHAPES, B, R, step_of

from mlpexp.kernel.layout import Layout
from mlpexp.kernel.measurements import measure
from mlpexp.kernel.measurements.histograms import counted


@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_histograms_equal_numpys(widths: tuple[int, ...]) -> None:
    layout = Layout(widths)
    step, _, _ = step_of(layout, "relu")
    found = measure(["gradient_histogram", "activation_histogram", "delta_histogram"], step)
    for lane in range(R):
        for l in range(layout.depth):
            gradient = layout.weight(step.gradient, l)[lane].numpy()
            values = {
                "gradient_histogram": np.log10(np.abs(gradient[gradient != 0])),
                "activation_histogram": step.trace.outputs[l][lane].numpy(),
                "delta_histogram": step.trace.deltas[l][lane].numpy(),
            }
            for name, own in values.items():
                low, high, counts = (found[name][lane, l, i].numpy() for i in (0, 1, slice(2, None)))
                if not own.size:
                    assert np.isnan(found[name][lane, l].numpy()).all()
                    continue
                assert (low, high) == pytest.approx((own.min(), own.max()), rel=1e-12)
                expected = np.histogram(own, 32)[0] if low < high else [own.size] + [0] * 31
                assert counts.tolist() == list(expected)


def test_what_is_not_finite_is_not_counted() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    step.trace.outputs[0][0, 0, 0], step.trace.outputs[0][0, 1, 1] = torch.nan, torch.inf
    step.trace.outputs[1][:] = torch.nan
    found = measure(["activation_histogram"], step)["activation_histogram"]
    assert float(found[0, 0, 2:].sum()) == B * 6 - 2
    assert bool(torch.isfinite(found[0, 0]).all())
    assert bool(torch.isnan(found[:, 1]).all())


@pytest.mark.parametrize("flushed", [False, True], ids=["", "denormals flushed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_range_is_counted_and_every_finite_value_once(dtype: torch.dtype, flushed: bool) -> None:
    """Down to denormals, whose range has no finite inverse, and up to the largest numbers, whose range overflows."""
    limits = torch.finfo(dtype)
    middles = torch.arange(-31, 32, 2, dtype=dtype) / 32  # of the bins
    values = torch.cat([middles, middles.new_tensor([-1, 1])]).expand(1, 3, -1).contiguous()
    with histories.flushed() if flushed else nullcontext():
        for scale in (0.0, limits.smallest_normal / 1e4, limits.smallest_normal, 4 * limits.smallest_normal, 1.0):
            assert counted(values * scale)[0, :, 2:].sum(dim=1).tolist() == [34.0] * 3
        found = counted(values * limits.max)[0, 0]
    assert found[:2].tolist() == [-limits.max, limits.max]
    assert found[2:].tolist() == [2.0] + [1.0] * 30 + [2.0]


def test_the_least_of_two_zeros_does_not_depend_on_where_it_lies() -> None:
    """−0 and 0 are equal, so amin tells whichever it meets last, and that depends on vectors and their tails."""
    zeros = torch.zeros(1, 7, 99)
    zeros[:, :, ::3] = -0.0
    for n in range(1, 100):
        found = counted(zeros[:, :, -n:])
        assert not bool(torch.signbit(found).any())
        assert found[0, 0, :3].tolist() == [0.0, 0.0, float(n)]

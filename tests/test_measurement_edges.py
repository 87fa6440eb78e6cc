"""Where measurements could go wrong: company of layers and lanes, tiny and shifted numbers, biases, the last row."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from measured_steps import BY_EXAMPLE, SHAPES, B, R, step_of

from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import QUANTITIES, Probe, Step, measure
from mlpexp.kernel.network import Network, Trace

# --- company of layers and lanes ---


class Alone(Layout):
    """A layout that measures every layer by itself."""

    @property
    def weight_blocks(self) -> list[range]:
        return [range(l, l + 1) for l in range(self.depth)]

    @property
    def unit_blocks(self) -> list[range]:
        return self.weight_blocks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_measuring_layers_together_changes_no_bit(widths: tuple[int, ...], dtype: torch.dtype) -> None:
    names = [name for name in QUANTITIES if name not in ("signal_norm", *((*HIDDEN,) if len(widths) == 2 else ()))]
    together, alone = (measure(names, step_of(l, dtype=dtype)[0]) for l in (Layout(widths), Alone(widths)))
    for name in names:
        torch.testing.assert_close(together[name], alone[name], rtol=0, atol=0, equal_nan=True)


HIDDEN = ("dead_units", "killed_units", "jacobian_singular_values")


def test_one_lane_reads_the_same_alone() -> None:
    layout = Layout((4, 6, 6, 5, 3), skip=True)
    step, _, _ = step_of(layout, ["tanh", "relu", "sigmoid"], dtype=torch.float32)
    together = measure(list(QUANTITIES), step)
    for lane in range(R):
        own = slice(lane, lane + 1)
        network = step.network.select(torch.tensor([lane]))
        trace = Trace(network, B)
        trace.inputs = [x[own] for x in step.trace.inputs]
        for name, blocks in trace.blocks.items():
            for block, source in zip(blocks, step.trace.blocks[name], strict=True):
                block.copy_(source[:, own])
        for name in ("activated", "signals"):
            for mine, source in zip(getattr(trace, name), getattr(step.trace, name), strict=True):
                mine.copy_(source[own])
        assert step.update is not None
        probe = replace(step.probe, targets=step.probe.targets[own])
        alone = measure(
            list(QUANTITIES), Step(network, trace, step.gradient[own], step.update[own], step.initial[own], probe)
        )
        for name in QUANTITIES:
            torch.testing.assert_close(alone[name][0], together[name][lane], rtol=0, atol=0, equal_nan=True, msg=name)


# --- tiny and shifted numbers ---


def test_tiny_gradients_do_not_read_zero() -> None:
    """1e-25² is no float32 number; a plain norm would report a vanished gradient."""
    layout = Layout((4, 6, 6, 3))
    normal, tiny = (step_of(layout, "tanh", scale, torch.float32)[0] for scale in (1.0, 1e-25))
    assert 0 < float(tiny.gradient.abs().max()) < 1e-23
    assert float(torch.linalg.vector_norm(tiny.gradient.square().sum())) == 0
    for name in ("gradient_norm", "gradient_max", "delta_norm", "update_ratio"):
        ratio = measure([name], tiny)[name] / measure([name], normal)[name]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 1e-25), rtol=1e-5, atol=0)
    for name in BY_EXAMPLE:
        ratio = measure([name], tiny)[name] / measure([name], normal)[name]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 1e-50), rtol=1e-4, atol=0)
    shift = [measure(["gradient_histogram"], step)["gradient_histogram"][:, :, :2] for step in (normal, tiny)]
    torch.testing.assert_close(shift[1] + 25, shift[0], rtol=0, atol=1e-4)


def test_a_large_mean_does_not_drown_the_spread() -> None:
    """E x² − (E x)² would be negative here in float32."""
    layout = Layout((4, 6, 3))
    step, _, _ = step_of(layout, "identity", dtype=torch.float32)
    spread = measure(["activation_std"], step)["activation_std"].clone()
    for outputs in step.trace.outputs:
        outputs += 1000.0
    step = replace(step)  # without what was kept
    assert float((measure(["activation_std"], step)["activation_std"] / spread - 1).abs().max()) < 1e-3


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0, 1e4])
def test_the_spread_around_any_mean_is_that_of_doubles(offset: float) -> None:
    step, _, _ = step_of(Layout((4, 6, 6, 3)), "tanh", dtype=torch.float32)
    for block in step.trace.blocks["outputs"]:
        block += offset
    expected = [[x[lane].double().std(unbiased=False).item() for x in step.trace.outputs] for lane in range(R)]
    rounded = offset * 2e-7  # of the mean, to the training's precision
    np.testing.assert_allclose(QUANTITIES["activation_std"](step).numpy(), expected, rtol=1e-6, atol=rounded)


# --- what is counted ---


def test_delta_norm_neither_counts_units_nor_divides_by_the_batch() -> None:
    """Twice the examples, the same: δ_l is each example's own; twice the equal units: √2 more."""
    step, _, _ = step_of(Layout((4, 6, 3)))
    for deltas in step.trace.deltas:
        deltas.fill_(2.0)
    expected = torch.tensor([2 * math.sqrt(6), 2 * math.sqrt(3)], dtype=torch.float64)
    torch.testing.assert_close(measure(["delta_norm"], step)["delta_norm"], expected.expand(R, 2), rtol=1e-14, atol=0)


def test_biases_are_in_no_weight_norm() -> None:
    layout = Layout((4, 6, 6, 6, 3))
    names = [name for name in QUANTITIES if name.startswith(("weight_", "gradient_norm", "gradient_max", "gradient_h"))]
    step, _, _ = step_of(layout)
    before = measure([*names, "update_ratio"], step)
    assert step.update is not None
    for rows in (step.gradient, step.network.rows, step.update, step.initial):
        for l in range(layout.depth):
            layout.biases(rows, l).fill_(1e6)
    after = measure([*names, "update_ratio"], replace(step))  # without what was kept
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_last_row_has_no_update_to_measure() -> None:
    step, _, _ = step_of(Layout((4, 6, 3)))
    last = replace(step, update=None)
    assert bool(torch.isnan(measure(["update_ratio"], last)["update_ratio"]).all())


def test_a_unit_born_off_is_not_killed_by_training() -> None:
    """Of four ReLU units one is off from the start, one is switched off, one switched on, one stays on."""
    layout = Layout((1, 4, 1))
    on, off = torch.tensor([[1.0, 1.0, 1.0, 1.0]]), -100.0
    rows = torch.cat([on, torch.tensor([[off, off, 5.0, 5.0]]), torch.ones(1, 5)], dim=1)
    start = torch.cat([on, torch.tensor([[off, 5.0, off, 5.0]]), torch.ones(1, 5)], dim=1)
    network = Network(layout, [ACTIVATIONS["relu"]], rows)
    probe = Probe(torch.linspace(-1, 1, 7)[:, None], torch.zeros(1, 7, 1), Loss("mse", "identity"))
    step = Step(network, Trace(network, 1), torch.zeros_like(rows), None, start, probe)
    assert measure(["dead_units"], step)["dead_units"][0, 0] == 0.5
    assert measure(["killed_units"], step)["killed_units"][0, 0] == 0.25
    begin = replace(step, network=Network(layout, [ACTIVATIONS["relu"]], start))
    assert [float(v[0, 0]) for v in measure(["dead_units", "killed_units"], begin).values()] == [0.5, 0.0]

"""Lanes with different activations side by side: every number is that of a cohort whose lanes all have the one."""

import pytest
import torch
from measured_steps import BY_EXAMPLE, R, step_of

from mlpexp.kernel.activations import ACTIVATIONS, activation
from mlpexp.kernel.lane_activations import LaneActivations, of_lanes
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.measurements import measure
from mlpexp.kernel.network import Trace, forward
from mlpexp.measurement_catalogue import CATALOGUE, of_kind

NAMES = ("tanh", "gelu", "softsign")
LAYOUTS = {
    "plain": Layout((4, 6, 6, 5, 3)),
    "skip": Layout((4, 6, 6, 5, 3), skip=True),
    "norm before": Layout((4, 6, 6, 5, 3), batch_norm=BatchNorm("before")),
    "norm after": Layout((4, 6, 6, 5, 3), batch_norm=BatchNorm("after")),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_lanes_measurements_do_not_depend_on_its_neighbours_activations(layout: Layout) -> None:
    undefined = {"signal_norm"} if not layout.skip else set()
    undefined |= {*BY_EXAMPLE, "sharpness"} if layout.batch_norm else set()
    wanted = [name for name in CATALOGUE if name not in {*of_kind("scores"), *undefined}]
    together, _, _ = step_of(layout, [NAMES] * 3)
    found = measure(wanted, together)
    for lane, name in enumerate(NAMES):
        alone, _, _ = step_of(layout, name)
        for quantity, values in measure(wanted, alone).items():
            assert torch.equal(found[quantity][lane].nan_to_num(), values[lane].nan_to_num()), (quantity, name)
        assert torch.equal(together.gradient[lane], alone.gradient[lane])


def test_layers_and_lanes_of_several_kinds_equal_their_twins() -> None:
    """Layers that differ between lanes, share one σ, or share it between some lanes alone."""
    layout = Layout((4, 6, 6, 6, 3))
    step, inputs, _ = step_of(layout, [("tanh", "relu", "softsign"), ("relu",) * 3, ("gelu", "gelu", "sigmoid")])
    for lane in range(R):
        one = step.network.lane(lane)
        assert [len(sigma.spans) for sigma in one.activations] == [1, 1, 1]
        z = forward(one, inputs[lane : lane + 1], Trace(one, inputs.shape[1]))
        assert torch.equal(z[0], step.trace.z[-1][lane])
    two = step.network.select(torch.tensor([0, 2]))
    z = forward(two, inputs[[0, 2]], Trace(two, inputs.shape[1]))
    assert torch.equal(z, step.trace.z[-1][[0, 2]])


def test_neighbours_that_share_one_are_taken_together() -> None:
    tanh, relu = ACTIVATIONS["tanh"], ACTIVATIONS["relu"]
    mixed = of_lanes([tanh, tanh, relu, tanh])
    assert [(span.start, span.stop, one.name) for span, one in mixed.spans] == [
        (0, 2, "tanh"), (2, 3, "relu"), (3, 4, "tanh"),
    ]  # fmt: skip
    assert mixed.select([0, 1, 3]) is tanh
    assert of_lanes([relu, relu]) is relu
    steep, flat = activation("leaky_relu", negative_slope=0.5), activation("leaky_relu", negative_slope=0.1)
    assert isinstance(of_lanes([steep, flat]), LaneActivations)

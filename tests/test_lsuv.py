"""initialisation=lsuv: every layer's z has unit variance on a batch of the lane's own; directions stay orthogonal."""

import numpy as np
import pytest
import reference
import torch
from runs_fixtures import compose
from torch import Tensor

from mlpexp.data import prepare
from mlpexp.kernel.activations import activation
from mlpexp.kernel.initialisation import initial_parameters, lsuv, orthogonal
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.lsuv import batch_of, scale_to_unit_variance
from mlpexp.kernel.network import Network
from mlpexp.lanes import build

POINT = ("initialisation=lsuv", "training.dtype=float64", "model.depth=6", "model.width=24")


def scaled_by_hand(weights: list[Tensor], inputs: Tensor, name: str) -> list[Tensor]:
    """Layer after layer with numpy's standard deviation, from the data up."""
    found, x = [], inputs
    for weight in weights:
        found.append(weight / float(np.std((x @ weight).numpy())))
        x = reference.activation(name)(x @ found[-1])
    return found


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "gelu"])
def test_each_lane_is_scaled_on_its_own_batch_of_the_training_part(name: str) -> None:
    configs = [compose(*POINT, f"model.activation={name}", f"seed={seed}") for seed in (3, 4)]
    network = build(configs)[1].network
    features = torch.from_numpy(prepare(configs[0].data).training.features).double()
    for lane, config in enumerate(configs):
        start = initial_parameters(network.layout, [orthogonal()], [config.seed], torch.float64)
        weights = [network.layout.weight(start, l)[0] for l in range(network.layout.depth)]
        expected = scaled_by_hand(weights, features[batch_of(config.seed, 256, len(features))], name)
        for l, weight in enumerate(expected):
            torch.testing.assert_close(network.weights[l][lane], weight, rtol=1e-12, atol=1e-14)


def test_another_seed_scales_on_other_rows() -> None:
    first, second = batch_of(0, 256, 1000), batch_of(1, 256, 1000)
    assert len(set(first)) == 256
    assert set(first) != set(second)
    assert sorted(batch_of(0, 256, 40)) == list(range(40))


def test_the_size_of_the_batch_counts() -> None:
    few, many = (build([compose(*POINT, f"initialisation.examples={n}")])[1].network.weights[3] for n in (16, 512))
    ratio = few / many
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio), rtol=1e-12, atol=0)
    assert abs(float(ratio[0, 0, 0]) - 1) > 1e-3


def test_a_layer_that_nothing_reaches_keeps_its_weights() -> None:
    layout = Layout((3, 4, 4, 2), bias=False)
    rows = initial_parameters(layout, [lsuv()], [0], torch.float64)
    network = Network(layout, [activation("relu")] * 2, rows.clone())
    network.weights[0].fill_(-1.0)  # switches every unit off
    scale_to_unit_variance(network, torch.rand(1, 9, 3, dtype=torch.float64) + 0.1)
    assert torch.equal(network.weights[1], layout.weight(rows, 1))
    assert bool(torch.isfinite(network.parameters).all())


def test_biases_of_zero_and_the_other_lanes_stay() -> None:
    configs = [compose(*POINT), compose("initialisation=he", *POINT[1:])]
    network = build(configs)[1].network
    alone = build(configs[1:])[1].network
    assert torch.equal(network.parameters[1], alone.parameters[0])
    assert not any(biases[0].any() for biases in network.biases)

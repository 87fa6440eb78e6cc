"""Batch norm against torch's own, what its statistics remember, and what is refused."""

import pytest
import torch
from runs_fixtures import composed, trained
from torch import nn

from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.network import Network, Trace, forward, predict, remember_statistics
from mlpexp.kernel.normalisation import batch_statistics, initial_rows
from mlpexp.planning import plan
from mlpexp.refusals import ConfigError

R, B, K = 3, 7, 5
AFTER = Layout((4, K, 2), batch_norm=BatchNorm("after", momentum=0.3))


def networks(layout: Layout = AFTER) -> Network:
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(R, layout.size, generator=generator, dtype=torch.float64)
    return Network(layout, [ACTIVATIONS["tanh"]] * (layout.depth - 1), initial_rows(layout, parameters))


def inputs(rows: int = B) -> torch.Tensor:
    return torch.randn(R, rows, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_layers_are_normalised_at_the_start() -> None:
    """γ = 1 and β = 0: whatever the weights, X_2 has mean 0 and (biased) variance 1 in every unit, but for ε."""
    network, trace = networks(), Trace(networks(), B)
    forward(network, inputs(), trace)
    mean, variance = batch_statistics(trace.outputs[0])
    raw = batch_statistics(trace.activated[0])[1]
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)
    torch.testing.assert_close(variance, raw / (raw + 1e-5), rtol=1e-10, atol=0)


def test_what_is_large_against_its_spread_loses_no_variance() -> None:
    """In single precision E[x²] − E[x]² would be half wrong at a mean of 1000 deviations; centred first it is not."""
    x = torch.randn(1, 4096, 3, generator=torch.Generator().manual_seed(2)) + 1000
    _, variance = batch_statistics(x)
    torch.testing.assert_close(variance[0].double(), x[0].double().var(0, correction=0), rtol=1e-4, atol=0)


def test_running_statistics_are_torchs_after_several_batches() -> None:
    network, trace = networks(), Trace(networks(), B)
    twins = [nn.BatchNorm1d(K, momentum=0.3, dtype=torch.float64) for _ in range(R)]
    for i in range(4):
        forward(network, inputs() * (i + 1), trace)
        for lane, twin in enumerate(twins):
            twin(trace.activated[0][lane])
        remember_statistics(network, trace, torch.tensor([True, True, False]))
    mean, variance = AFTER.running(network.rows, 0)
    for lane, twin in enumerate(twins[:2]):
        assert twin.running_mean is not None
        assert twin.running_var is not None
        torch.testing.assert_close(mean[lane], twin.running_mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(variance[lane], twin.running_var, rtol=1e-12, atol=0)
    assert mean[2].tolist() == [0.0] * K  # a lane that is left out keeps what it had
    assert variance[2].tolist() == [1.0] * K


def test_a_prediction_does_not_depend_on_who_else_is_predicted() -> None:
    """Evaluation takes running statistics: an example alone has the output that it has among others."""
    network = networks()
    examples = inputs()[0]
    ((_, together),) = [(start, z.clone()) for start, z in predict(network, examples, B)]
    for i in range(B):
        ((_, alone),) = [(start, z.clone()) for start, z in predict(network, examples[i : i + 1], B)]
        assert torch.equal(alone[:, 0], together[:, i])


def test_skip_connections_go_around_layers_of_equal_width_but_the_first_and_the_last() -> None:
    layout = Layout((6, 6, 6, 5, 5, 6, 6), skip=True)
    assert [layer.skip for layer in layout.layers] == [False, True, False, True, False, False]


def test_a_skipped_layer_adds_its_input() -> None:
    layout = Layout((4, K, K, 2), skip=True)
    network, trace = networks(layout), Trace(networks(layout), B)
    forward(network, inputs(), trace)
    torch.testing.assert_close(trace.outputs[1], torch.tanh(trace.z[1]) + trace.outputs[0], rtol=1e-12, atol=1e-14)
    assert torch.equal(trace.outputs[0], trace.activated[0])


REFUSED = {
    ("model.batch_norm=after", "training.batch_size=1"): "leaves a batch of one",
    ("model.batch_norm=after", "training.batch_size=4"): "leaves a batch of one",  # 1077 = 269 · 4 + 1
    ("model.batch_norm=before", "model.depth=1"): "model.batch_norm=before acts on hidden layers",
    ("model.batch_norm_affine=false",): "belongs to batch norm, but model.batch_norm is null",
    ("model.skip=true",): "model.skip=true needs two hidden layers of equal width",
    ("model.skip=true", "model.depth=4", "model.width=[8,7,6]"): r"the hidden widths are \[8, 7, 6\]",
    ("model.width=[8,7]",): "model.width lists 2 hidden layers, but model.depth=2 has 1",
    ("model.activation=[tanh,relu]",): "model.activation lists 2 hidden layers",
}


@pytest.mark.parametrize("overrides", REFUSED, ids=" ".join)
def test_what_makes_no_sense_is_refused(overrides: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=REFUSED[overrides]):
        plan([composed(*overrides)])


def test_a_run_with_a_list_of_layers_says_so_in_its_name() -> None:
    (result,) = trained("model.depth=4", "model.width=[8,8,6]", "model.activation=[tanh,relu,relu]", "model.skip=true")
    assert result.condition.startswith("tanh+relu-d4-w8-6-skip")
    assert result.facts["widths"] == [64, 8, 8, 6, 10]

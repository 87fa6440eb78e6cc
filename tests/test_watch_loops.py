"""Loops as people write them: micro-batches, mixed precision, frozen and shared layers, evaluation, errors, MLflow."""

import copy
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import mlpexp
from mlpexp.measurement_catalogue import PRESETS
from mlpexp.watching.layers import WATCHABLE
from mlpexp.watching.watch import Watched

EVERYTHING = [name for name in WATCHABLE if name not in ("saturation", "dead_units", "killed_units")]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def batch(rows: int = 12, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=generator).double(), torch.randint(3, (rows,), generator=generator)


def one_step(
    backward: Callable[[nn.Module, Tensor, Tensor], None], net: nn.Module | None = None, **options: Any
) -> Watched:
    """One update; `backward` makes the gradient."""
    net = net or network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options.setdefault("quantities", EVERYTHING)
    with mlpexp.watch(net, optimizer, **options) as watched:
        backward(net, *batch())
        optimizer.step()
    return watched


def plainly(net: nn.Module, x: Tensor, y: Tensor) -> None:
    functional.cross_entropy(net(x), y).backward()


def check_same(one: Watched, other: Watched, *but: str) -> None:
    for name in EVERYTHING:
        if name not in but:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, err_msg=name)
            assert np.isfinite(one[name]).all(), name


# --- one step, however its gradient comes about ---


def test_micro_batches_are_one_batch() -> None:
    def in_parts(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(3):
            (functional.cross_entropy(net(x[own::3]), y[own::3]) / 3).backward()

    check_same(one_step(in_parts), one_step(plainly))


def test_a_sum_over_examples_is_brought_to_their_mean() -> None:
    def summed(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(2):
            functional.cross_entropy(net(x[own::2]), y[own::2], reduction="sum").backward()

    check_same(one_step(summed, reduction="sum"), one_step(plainly), "update_ratio")


def test_means_that_are_added_up_have_the_delta_of_each_own_mean() -> None:
    def added(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(2):
            functional.cross_entropy(net(x[own::2]), y[own::2]).backward()

    watched = one_step(added, quantities="full", reduction="added")
    whole = one_step(plainly)
    np.testing.assert_allclose(watched["delta_norm"], whole["delta_norm"], rtol=1e-9)
    np.testing.assert_allclose(watched["gradient_norm"], 2 * whole["gradient_norm"], rtol=1e-9)
    assert "added up" in watched.left_out["gradient_variance"]


def test_what_leads_to_no_update_is_not_counted() -> None:
    def with_evaluation(net: nn.Module, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            net(x * 3)
        net.eval()
        net(x * 5)
        net.train()
        inputs = x.clone().requires_grad_()
        torch.autograd.grad(net(inputs).sum(), inputs)
        plainly(net, x, y)

    check_same(one_step(with_evaluation), one_step(plainly))


def test_a_batch_that_was_dropped_is_not_counted() -> None:
    def after_a_bad_one(clear: Callable[[nn.Module], None]) -> Callable[[nn.Module, Tensor, Tensor], None]:
        def backward(net: nn.Module, x: Tensor, y: Tensor) -> None:
            plainly(net, x * 100, y)
            clear(net)
            plainly(net, x, y)

        return backward

    for clear in (lambda net: net.zero_grad(), lambda net: net.zero_grad(set_to_none=False)):
        check_same(one_step(after_a_bad_one(clear)), one_step(plainly))


def test_the_outer_half_of_a_double_backward_pass_is_the_one_that_counts() -> None:
    def penalised(net: nn.Module, x: Tensor, y: Tensor) -> None:
        inputs = x.clone().requires_grad_()
        loss = functional.cross_entropy(net(inputs), y)
        (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
        (loss + 0 * slope.square().sum()).backward()

    check_same(one_step(penalised), one_step(plainly))


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")  # of the circle that is undone here
def test_a_backward_pass_that_can_be_derived_again_counts_as_any_other() -> None:
    def with_graph(net: nn.Module, x: Tensor, y: Tensor) -> None:
        functional.cross_entropy(net(x), y).backward(create_graph=True)
        for own in net.parameters():
            assert own.grad is not None
            own.grad = own.grad.detach()  # else it and its graph keep each other

    check_same(one_step(with_graph), one_step(plainly))


def test_several_backward_passes_through_one_forward_pass_leave_delta_out() -> None:
    def twice(net: nn.Module, x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(net(x), y)
        loss.backward(retain_graph=True)
        loss.backward()

    watched, whole = one_step(twice, quantities="basic"), one_step(plainly)
    assert np.isnan(watched["delta_norm"]).all()
    assert "several backward passes" in watched.left_out["delta_norm/layer_01"]
    np.testing.assert_allclose(watched["gradient_norm"], 2 * whole["gradient_norm"], rtol=1e-9)
    np.testing.assert_allclose(watched["activation_mean"], whole["activation_mean"], rtol=1e-9)


def test_gradients_are_told_as_they_were_before_clipping() -> None:
    def clipped(net: nn.Module, x: Tensor, y: Tensor) -> None:
        plainly(net, x, y)
        nn.utils.clip_grad_norm_(net.parameters(), 1e-3)

    check_same(one_step(clipped), one_step(plainly), "update_ratio")


def test_gradients_that_no_backward_pass_left_are_taken_as_they_are() -> None:
    def by_hand(net: nn.Module, x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(net(x), y)
        for own, gradient in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            own.grad = gradient

    watched = one_step(by_hand, quantities="basic")
    np.testing.assert_allclose(watched["gradient_norm"], one_step(plainly)["gradient_norm"], rtol=1e-9)
    assert np.isnan(watched["delta_norm"]).all()


def test_a_closure_is_part_of_its_step() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = batch()

    def closure() -> float:
        plainly(net, x, y)
        return 0.0

    with mlpexp.watch(net, optimizer, quantities=EVERYTHING) as watched:
        optimizer.step(closure)
    check_same(watched, one_step(plainly), "update_ratio")


# --- mixed precision ---


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_scales_nothing_that_is_told_and_what_it_skips_is_not_there(fused: bool) -> None:
    def train(scaler: torch.amp.GradScaler | None) -> Watched:
        net = network().float()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
        with mlpexp.watch(net, optimizer, quantities="full", scaler=scaler) as watched:
            for step in range(4):
                x, y = batch(seed=step)
                if step == 1:
                    if scaler is None:
                        continue
                    x = x * math.inf
                loss = functional.cross_entropy(net(x.float()), y)
                if scaler is None:
                    loss.backward()
                    optimizer.step()
                else:
                    scaler.scale(loss).backward()
                    if step == 2 and not fused:
                        scaler.unscale_(optimizer)
                    scaler.step(optimizer)
                    scaler.update()
                optimizer.zero_grad()
        return watched

    scaled, plain = train(torch.amp.GradScaler("cpu", init_scale=2.0**10)), train(None)
    assert plain.steps("delta_norm").tolist() == [0, 1, 2]
    assert scaled.steps("delta_norm").tolist() == ([0, 2, 3] if fused else [0, 1, 2])
    for name in scaled.names - {"gradient_histogram"}:
        np.testing.assert_allclose(scaled[name], plain[name], rtol=2e-4, atol=1e-5, err_msg=name)
    edges = (slice(None), slice(None), slice(0, 2))
    np.testing.assert_allclose(scaled["gradient_histogram"][edges], plain["gradient_histogram"][edges], atol=1e-3)


def test_autocast_to_bfloat16_is_measured_about_as_well_as_it_computes() -> None:
    def mixed(net: nn.Module, x: Tensor, y: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(net(x.float()), y)
        loss.backward()

    watched, whole = one_step(mixed, network().float()), one_step(plainly)
    np.testing.assert_allclose(watched["delta_norm"], whole["delta_norm"], rtol=0.05)
    np.testing.assert_allclose(watched["activation_std"], whole["activation_std"], rtol=0.05)
    np.testing.assert_allclose(watched["gradient_norm"], whole["gradient_norm"], rtol=0.05)


# --- modules ---


def test_a_frozen_layer_has_outputs_and_no_gradient() -> None:
    net = network()
    for layer in (net[0], net[4]):
        layer.requires_grad_(False)
    watched, whole = one_step(plainly, net, quantities="full"), one_step(plainly)
    for name in ("gradient_norm", "update_ratio"):
        assert np.isnan(watched[name][0]).tolist() == [True, False, True]
        assert watched[name][0, 1] == pytest.approx(whole[name][0, 1])
    assert np.isnan(watched["delta_norm"][0]).tolist() == [True, False, False]  # it goes through the last one
    np.testing.assert_allclose(watched["delta_norm"][0, 1:], whole["delta_norm"][0, 1:], rtol=1e-9)
    np.testing.assert_allclose(watched["activation_std"], whole["activation_std"], rtol=1e-9)
    assert watched.plot().words


class Shared(nn.Module):
    """The middle layer is called twice; the last one has the first one's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.last(self.middle(torch.tanh(self.middle(torch.tanh(self.first(x))))))
        return last


def test_a_shared_layer_is_left_out_of_what_it_does_not_define_and_refused_by_name() -> None:
    watched = one_step(plainly, Shared().double(), quantities="full")
    assert "more than once" in watched.left_out["delta_norm/layer_02"]
    assert watched.left_out["weight_norm/layer_03"] == "it shares its weight with first, where it is told"
    assert np.isnan(watched["delta_norm"][0]).tolist() == [False, True, False]
    assert np.isnan(watched["gradient_second_moment"]).all()
    assert "product of norms" in watched.left_out["gradient_second_moment/layer_01"]
    assert np.isnan(watched["gradient_norm"][0]).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="delta_norm is undefined here: the layer is called more than once"):
        one_step(plainly, Shared().double(), quantities=["delta_norm"], layers=["middle"])


def test_an_activation_by_hand_is_not_mistaken_for_one_of_torchs() -> None:
    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            last: Tensor = self.last(z * torch.sigmoid(z))
            return last

    watched = one_step(plainly, Swish().double(), quantities="basic")
    assert "past it" in watched.left_out["activation_mean/layer_01"]
    assert np.isnan(watched["activation_mean"][0]).tolist() == [True, False]


def test_saturation_is_of_those_that_saturate() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 50), nn.Sigmoid(), nn.Linear(50, 3)).double()
    x, _ = batch()
    with torch.no_grad():
        slopes = torch.sigmoid(z := net[0](30 * x)) * (1 - torch.sigmoid(z))
    watched = one_step(lambda net, x, y: plainly(net, 30 * x, y), net, quantities=["saturation"])
    assert watched["saturation"][0, 0] == pytest.approx(float((slopes < 0.05 / 4).double().mean()))
    assert "sigmoid, tanh, softsign" in watched.left_out["saturation/layer_02"]
    with pytest.raises(ValueError, match="saturation is undefined here: it is of sigmoid, tanh, softsign"):
        one_step(plainly, quantities=["saturation"])


def test_layers_may_be_named_from_the_input_on() -> None:
    watched = one_step(plainly, layers=["4", "0"])
    np.testing.assert_allclose(watched["delta_norm"], one_step(plainly)["delta_norm"][:, [2, 0]])


def test_copies_and_files_of_a_watched_module_have_no_hooks() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mlpexp.watch(net, optimizer) as watched:
        average = copy.deepcopy(net)
        torch.save(net, file := io.BytesIO())
        file.seek(0)
        for other in (average, torch.load(file, weights_only=False)):
            plainly(other, *batch())
        plainly(net, *batch())
        optimizer.step()
    np.testing.assert_allclose(watched["delta_norm"], one_step(plainly)["delta_norm"])
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in net.modules())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, while it traces
def test_a_module_that_is_compiled_after_it_is_watched_is_seen() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mlpexp.watch(net, optimizer, quantities=EVERYTHING) as watched:
        plainly(torch.compile(net, backend="eager"), *batch())  # type: ignore[arg-type]
        optimizer.step()
    check_same(watched, one_step(plainly))


def test_two_watched_modules_do_not_see_each_other() -> None:
    nets = [network(0), network(7)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
    with mlpexp.watch(nets[0], optimizers[0]) as one, mlpexp.watch(nets[1], optimizers[1]) as other:
        x, y = batch()
        (functional.cross_entropy(nets[0](x), y) + functional.cross_entropy(nets[1](x), y)).backward()
        for optimizer in optimizers:
            optimizer.step()
    for watched, seed in ((one, 0), (other, 7)):
        np.testing.assert_allclose(watched["delta_norm"], one_step(plainly, network(seed))["delta_norm"])


# --- errors ---


def test_after_an_error_what_is_whole_is_there_and_no_hook_is_left() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def train() -> None:
        for step in range(5):
            plainly(net, *batch())
            if step == 3:
                net(torch.zeros(2, 9).double())  # of another width
            optimizer.step()

    watched = mlpexp.watch(net, optimizer)
    with pytest.raises(RuntimeError, match="shapes"), watched:
        train()
    assert watched.steps("delta_norm").tolist() == [0, 1, 2]
    assert torch.overrides._get_current_function_mode() is None
    watched.close()
    plainly(net, *batch())
    optimizer.step()
    assert len(watched["delta_norm"]) == 3


def compiled() -> nn.Module:
    net = network()
    net.compile(backend="eager")
    return net


REFUSED: list[tuple[Callable[[], nn.Module], dict[str, Any], str]] = [
    (lambda: nn.Sequential(nn.ReLU(), nn.PReLU()), {}, "Sequential has no Linear or Conv layer"),
    (lambda: nn.DataParallel(network()), {}, "DataParallel spreads batches or weights"),
    (compiled, {}, "compiled already, without hooks; watch it before torch.compile"),
    (network, {"layers": ["5"]}, "'5' is no Linear or Conv layer"),
    (network, {"quantities": ["gradient_nrom"]}, "got 'gradient_nrom'; did you mean gradient_norm?"),
    (network, {"quantities": ["basic", "sharpness"]}, "sharpness is undefined here: .* take it off the list"),
    (network, {"quantities": ["dead_units"]}, r"give one: watch\(…, probe=inputs\)"),
    (network, {"every": 0}, "every must be a number of updates from 1 on, got 0"),
    (network, {"reduction": "max"}, "reduction may be mean, sum, added; got 'max'"),
    (lambda: nn.Sequential(nn.Conv2d(1, 2, 3)), {"quantities": ["gradient_variance"]}, "shares its weights between"),
    (lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), {"quantities": ["gradient_square"]}, "batch norm"),
]


@pytest.mark.parametrize(("make", "options", "said"), REFUSED)
def test_what_cannot_be_watched_is_refused_with_the_reason(
    make: Callable[[], nn.Module], options: dict[str, Any], said: str
) -> None:
    net = make()
    with pytest.raises(ValueError, match=said):
        mlpexp.watch(net, torch.optim.SGD([*net.parameters(), torch.zeros(1)], lr=0.1), **options)
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in net.modules())


def test_an_optimizer_that_cannot_be_watched_is_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match="updates none of the module's parameters"):
        mlpexp.watch(net, torch.optim.SGD(network().parameters(), lr=0.1))
    with pytest.raises(ValueError, match="LBFGS looks at the loss several times"):
        mlpexp.watch(net, torch.optim.LBFGS(net.parameters()))
    with pytest.raises(ValueError, match="list is no torch"):
        mlpexp.watch(net, list(net.parameters()))  # type: ignore[arg-type]


def test_a_module_that_has_no_shape_yet_is_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3))
    with pytest.raises(ValueError, match="1 has no shape yet; pass a batch through the module first"):
        mlpexp.watch(net, torch.optim.SGD(net[0].parameters(), lr=0.1))


def test_a_parametrised_weight_is_left_alone() -> None:
    net = network()
    nn.utils.parametrizations.spectral_norm(net[0])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watched = mlpexp.watch(net, optimizer)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    watched.close()
    assert "other parameters" in watched.left_out["gradient_norm/layer_01"]


# --- MLflow ---


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.MlflowClient(uri).create_experiment("watched", artifact_location=str(folder / "files"))
    return uri


@pytest.fixture
def store(empty_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI that MLflow takes for its own; it has an experiment `watched`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "watched")
    return empty_store


def test_an_mlflow_run_has_points_record_and_picture_of_what_was_whole(store: str) -> None:
    with mlflow.start_run() as run:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        watched = mlpexp.watch(net, optimizer, prefix="net")

        def train() -> None:
            for step in range(60):
                plainly(net, *batch())
                _ = 1 / (50 - step)
                optimizer.step()

        with pytest.raises(ZeroDivisionError), watched:
            train()
    client = mlflow.MlflowClient()
    data = client.get_run(run.info.run_id).data
    assert {name.split("/")[1] for name in data.metrics} == set(PRESETS["basic"])
    assert data.tags["net/layer_03"] == "4 (Linear)"
    history = client.get_metric_history(run.info.run_id, "net/delta_norm/layer_02")
    own = {point.step: point.value for point in history}
    assert {0, 1, 2, 3, 10} <= own.keys() <= set(range(50))
    assert len(own) < 50
    np.testing.assert_array_equal(list(own.values()), watched["delta_norm"][list(own), 1])
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="net"))
    record = pd.read_parquet(folder / "record.parquet")
    np.testing.assert_array_equal(record["delta_norm/layer_02"], watched["delta_norm"][:, 1])
    assert record["step"].tolist() == list(range(50))
    assert (folder / "gradient_flow.png").stat().st_size > 5_000


def test_a_store_that_is_away_stops_no_training(store: str) -> None:
    client = mlflow.MlflowClient(store)
    run = client.create_run(client.search_experiments(filter_string="name = 'watched'")[0].experiment_id)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watched = mlpexp.watch(net, optimizer, run_id=run.info.run_id)
    client.delete_run(run.info.run_id)
    plainly(net, *batch())
    optimizer.step()
    with pytest.warns(UserWarning, match=r"not all of it is in MLflow \(.*table\(\) has it"):
        watched.close()
    assert len(watched.table())


def test_a_run_that_is_not_there_is_refused(store: str) -> None:
    net = network()
    with pytest.raises(ValueError, match=r"run_id='0{32}' cannot be read"):
        mlpexp.watch(net, torch.optim.SGD(net.parameters(), lr=0.1), run_id="0" * 32)
    assert not any(one._forward_hooks for one in net.modules())


def test_attention_is_watched_where_its_layers_are_called() -> None:
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.attention, self.last = nn.Linear(4, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            last: Tensor = self.last(self.attention(z, z, z)[0])
            return last

    watched = one_step(plainly, Attention().double(), quantities="basic")
    assert [layer.name for layer in watched.layers] == ["first", "attention.out_proj", "last"]
    assert np.isnan(watched["delta_norm"][0]).tolist() == [False, True, False]
    assert np.isfinite(watched["gradient_norm"]).all()
    assert "not called" in watched.left_out["delta_norm/layer_02"]


def test_tokens_are_no_examples() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = batch(12)

    def tokens(net: nn.Module, *_: Tensor) -> None:
        functional.cross_entropy(net(x.view(4, 3, 4)).flatten(0, 1), y).backward()

    watched = one_step(tokens, net, quantities="full")
    assert np.isnan(watched["gradient_variance"]).all()
    assert "not a row for each example" in watched.left_out["gradient_variance/layer_01"]
    twin = copy.deepcopy(net)
    for own, moved in zip(twin.parameters(), net.parameters(), strict=True):
        assert moved.grad is not None
        own.data = moved.detach() + 0.1 * moved.grad  # back to before the update
    squares = 0.0
    for rows, labels in zip(x.view(4, 3, 4), y.view(4, 3), strict=True):
        loss = functional.cross_entropy(z := twin(rows), labels)  # of one example: the mean over its tokens
        squares += float(torch.autograd.grad(loss, z)[0].square().sum())
    assert watched["delta_norm"][0, 1] == pytest.approx(np.sqrt(squares / 4))

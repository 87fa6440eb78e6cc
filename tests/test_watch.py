"""A watched module of someone else's: the numbers of our own kernel, and not a bit of the training changed."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import histories
import numpy as np
import pytest
import reference
import torch
from histories import composed
from reference import clip
from torch import Tensor, nn
from torch.nn import functional

import mlpexp
from mlpexp.config import Config
from mlpexp.kernel.streams import epoch_batches
from mlpexp.lanes import build
from mlpexp.shapes import layout_of
from mlpexp.watching.layers import NOT_WATCHED, WATCHABLE
from mlpexp.watching.watched import BLOCK, Watched

MEASURED = ",".join(WATCHABLE)
RARE = ("dead_units", "killed_units", "gradient_histogram", "weight_spectral_norm")


def both(*overrides: str) -> tuple[histories.History, Watched]:
    """One training by our runner, and by a loop as people write it, with everything that both measure."""
    rare = [f"measurements.schedule.{name}=log" for name in RARE]
    names = MEASURED if "model.activation=tanh" in overrides else MEASURED.replace("saturation,", "")
    config = composed(
        "data=wine", "model.depth=4", "model.width=6", "training.epochs=3", "training.batch_size=32",
        f"measurements.quantities=[{names}]", "measurements.probe_examples=40", *rare, *overrides,
    )  # fmt: skip
    (history,) = histories.trained([config])
    _, lanes = build([config])
    return history, looped(config, lanes.network.rows[0], lanes.parts["train"], names.split(","))


def looped(config: Config, row: Tensor, examples: Any, names: list[str]) -> Watched:
    layout = layout_of(config.model, examples.features.shape[1], examples.outputs)
    sigmas = [reference.activation(name) for name in config.model.activations]
    network = reference.Perceptron(layout, row, sigmas)
    optimizer = torch.optim.SGD(network.parameters(), lr=config.optimizer.learning_rate, momentum=0.9)
    seed = config.stream_seeds().get("batches", 0)
    with mlpexp.watch(network, optimizer, quantities=names, probe=examples.features[:40]) as watched:
        for epoch in range(config.training.epochs or 0):
            for rows in epoch_batches("epoch", seed, epoch, len(examples), config.training.batch_size):
                loss = functional.cross_entropy(network(examples.features[rows]), examples.labels[0, rows])
                loss.backward()
                if config.training.clip_norm is not None:
                    clip(list(network.parameters()), config.training.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
    return watched


@pytest.mark.parametrize(
    ("dtype", "overrides"),
    [
        ("float64", ("model.activation=tanh",)),
        ("float64", ("model.activation=relu", "model.bias=false", "training.clip_norm=0.05")),
        ("float32", ("model.activation=relu",)),
    ],
)
def test_every_quantity_is_that_of_our_kernel_on_the_same_network(dtype: str, overrides: tuple[str, ...]) -> None:
    history, watched = both(*overrides, f"training.dtype={dtype}", "optimizer=momentum", "optimizer.momentum=0.9")
    relative, absolute = (1e-7, 1e-12) if dtype == "float64" else (2e-3, 2e-5)
    last = history.steps[-1]
    assert {*watched.names} == {*history.measured}
    for name in watched.names:
        steps = [step for step in history.measured_at[name] if step < last]  # ours looks once more after the last one
        assert watched.steps(name).tolist() == steps, name
        ours = history.column(name)[: len(steps)]
        if name == "gradient_histogram":
            if dtype == "float64":  # a value may cross the border of its bin, but not many do
                assert np.abs(watched[name][..., 2:] - ours[..., 2:]).sum() <= 4
            ours, theirs = ours[..., :2], watched[name][..., :2]
        else:
            theirs = watched[name]
        np.testing.assert_allclose(theirs, ours, relative, absolute, err_msg=name)


def test_each_quantity_of_the_catalogue_is_watched_or_has_a_reason() -> None:
    from mlpexp.measurement_catalogue import CATALOGUE

    assert {*WATCHABLE} | {*NOT_WATCHED} == {*CATALOGUE}
    assert not {*WATCHABLE} & {*NOT_WATCHED}


# --- not a bit of the training changes, and nothing waits ---


class Convolutional(nn.Module):
    """Everything at once: convolutions, batch norm, activations in place and as functions, pooling, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.4)
        self.dense = nn.Linear(16, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.tanh(self.norm(self.first(x))), 2)
        x = self.drop(self.relu(self.second(x)))
        x = functional.relu(functional.dropout(self.dense(x.flatten(1)), 0.2, self.training), inplace=True)
        last: Tensor = self.last(x)
        last *= 0.5  # in place: what came out of the layer is gone
        return last


def batches(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(8, 1, 8, 8, generator=generator), torch.randint(3, (8,), generator=generator))
        for _ in range(count)
    ]


def train(around: Callable[[nn.Module, torch.optim.Optimizer], Watched | None], steps: int = 4) -> dict[str, bytes]:
    """Everything that a training leaves, as bytes."""
    torch.manual_seed(3)
    net = Convolutional()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    watched = around(net, optimizer)
    left: dict[str, bytes] = {}
    for step, (x, y) in enumerate(batches(steps)):
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        left[f"loss {step}"] = loss.detach().numpy().tobytes()
        left |= {
            f"gradient {step} {n}": p.grad.numpy().tobytes() for n, p in net.named_parameters() if p.grad is not None
        }
        optimizer.step()
    if watched is not None:
        watched.close()
    left |= {name: value.numpy().tobytes() for name, value in net.state_dict().items()}
    return left | {"generator": torch.get_rng_state().numpy().tobytes(), "training": repr(net.training).encode()}


def test_no_bit_of_a_training_changes_when_it_is_watched() -> None:
    def watch_all(net: nn.Module, optimizer: torch.optim.Optimizer) -> Watched:
        return mlpexp.watch(net, optimizer, quantities="full", probe=batches(1)[0][0])

    plain = train(lambda net, optimizer: None)
    assert train(watch_all) == plain
    assert "gradient 3 first.weight" in plain


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that read a number from the device in the main thread."""
    seen: list[str] = []

    def forbidden(name: str) -> Callable[..., Any]:
        own = getattr(Tensor, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                seen.append(name)
            return own(*args, **kwargs)

        return call

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero"):
        monkeypatch.setattr(Tensor, name, forbidden(name))
    return seen


def test_nothing_in_the_loop_waits_for_the_device(waiting: list[str]) -> None:
    torch.manual_seed(0)
    net = Convolutional()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    watched = mlpexp.watch(net, optimizer, quantities="full", probe=batches(1)[0][0])
    for x, y in batches(3) * (BLOCK // 3 + 2):  # one block leaves the device meanwhile
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert waiting == []
    assert len(watched["delta_norm"]) > BLOCK
    watched.close()


# --- convolutions, against one example at a time ---


def test_delta_and_outputs_of_convolutions_are_those_of_each_example_alone() -> None:
    torch.manual_seed(1)
    net = Convolutional().double()
    x, y = batches(1)[0]
    x = x.double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mlpexp.watch(net, optimizer) as watched:
        net.eval()  # with a batch's statistics no example has a δ of its own
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    twin = copy.deepcopy(net)
    for own, moved in zip(twin.parameters(), net.parameters(), strict=True):
        assert moved.grad is not None
        own.data = moved.detach() + 0.1 * moved.grad  # back to before the update
    squares, outputs = np.zeros(4), []
    for one, label in zip(x, y, strict=True):
        a = twin.first(one[None])
        b = twin.second(functional.max_pool2d(tanh := torch.tanh(twin.norm(a)), 2))
        c = twin.dense((rectified := torch.relu(b)).flatten(1))
        d = twin.last(hidden := torch.relu(c))
        deltas = torch.autograd.grad(functional.cross_entropy(0.5 * d, label[None]), [a, b, c, d])
        squares += [float(delta.square().sum()) for delta in deltas]
        outputs.append([out.detach().flatten().numpy() for out in (tanh, rectified, hidden, d)])
    np.testing.assert_allclose(watched["delta_norm"][0], np.sqrt(squares / 8), rtol=1e-9)
    layers = [np.concatenate(own) for own in zip(*outputs, strict=True)]
    np.testing.assert_allclose(watched["activation_mean"][0], [own.mean() for own in layers], rtol=1e-9)
    np.testing.assert_allclose(watched["activation_std"][0], [own.std() for own in layers], rtol=1e-9)
    np.testing.assert_allclose(watched["activation_zeros"][0], [(own == 0).mean() for own in layers], rtol=1e-9)
    assert watched["activation_zeros"][0, 1] > 0.1


def test_a_probe_tells_the_units_that_are_off_for_all_of_it_and_leaves_the_module_as_it_was() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4, 2))
    net[2].eval()  # someone's own choice stays
    first, last = net[0], net[3]
    assert isinstance(first, nn.Linear)
    first.bias.data[:2] = -100.0
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=1.0)
    with mlpexp.watch(net, optimizer, probe=torch.randn(20, 3)) as watched:
        for _ in range(2):
            (net(torch.randn(5, 3)).sum() + 150 * first.bias[3]).backward()
            optimizer.step()
            optimizer.zero_grad()
    np.testing.assert_array_equal(watched["dead_units"], [[0.5, np.nan], [0.75, np.nan]])
    np.testing.assert_array_equal(watched["killed_units"], [[0.0, np.nan], [0.25, np.nan]])
    assert [one.training for one in net] == [True, True, False, True]


def test_what_was_measured_is_a_tidy_table_and_a_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mlpexp.watch(net, optimizer, every=2) as watched:
        for _ in range(5):
            net(torch.randn(5, 3)).square().sum().backward()
            optimizer.step()
    table = watched.table()
    assert list(table.columns) == ["step", "name", "layer", "module", "value"]
    assert sorted(table["step"].unique()) == [0, 2, 4]
    one = table[(table["name"] == "delta_norm") & (table["step"] == 4)]
    assert one["module"].tolist() == ["0", "2"]
    np.testing.assert_array_equal(one["value"], watched["delta_norm"][2])
    words = [word for word, *_ in watched.plot().words]
    assert "Sequential" in words
    with pytest.raises(KeyError, match=r"sharpness is not measured here; gradient_norm, .* are"):
        _ = watched["sharpness"]

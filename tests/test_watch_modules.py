"""Modules as people write them: frozen, shared, copied and compiled layers, activations by hand, attention, tokens."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from watched_loops import EVERYTHING, batch, check_same, network, one_step, plainly

import mlpexp


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
        compiled = torch.compile(net, backend="eager")
        assert isinstance(compiled, nn.Module)
        plainly(compiled, *batch())
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

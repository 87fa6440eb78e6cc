"""What cannot be watched is refused with the reason and left as it was; an error under way costs no whole update."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from watched_loops import batch, network, plainly

import mlpexp


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
        mlpexp.watch(net, list(net.parameters()))  # type: ignore[arg-type]  # the mistake that is refused


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

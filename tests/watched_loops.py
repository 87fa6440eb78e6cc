"""A network of anyone's, and one update of it that is watched, however its gradient is made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import mlpexp
from mlpexp.watching.layers import WATCHABLE
from mlpexp.watching.watched import Watched

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

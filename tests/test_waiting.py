"""An update never waits for the device: no value leaves it, by the source and by what torch is asked for."""

import ast
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from kernel_sources import SOURCES, functions_of
from random_cohorts import BITS, Cohort, cohorts
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mlpexp import lanes as lanes_module
from mlpexp import training
from mlpexp.kernel import norms
from mlpexp.kernel.measurements import units

WAITING = {"item", "tolist", "cpu", "numpy", "synchronize"}
MAY_WAIT = {"piece", "endings"}  # once an epoch, once a lane


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_values_leave_the_device_only_where_pieces_and_endings_are_made(path: Path) -> None:
    found = [
        f"{function}: {node.attr}"
        for function, node in functions_of(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in WAITING and function not in MAY_WAIT
    ]
    assert found == []


class NoWaiting(TorchDispatchMode):
    """Refuses what would need a value, or a size, from the device: item, bool, int and float of a tensor, nonzero."""

    REFUSED = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "item", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])  # x[x > 0]
        assert not by_mask, f"{name} by a mask waits for the device"
        assert name not in self.REFUSED, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@settings(BITS, max_examples=20)
@given(cohorts(lanes=3))
def test_an_epoch_of_updates_never_waits_for_the_device(cohort: Cohort) -> None:
    """As on a device whose numbers are not at hand: the processor's own may be looked at, which spares work."""
    with mock.patch.object(lanes_module, "prepare", return_value=cohort.parts):
        plan, lanes = lanes_module.build(cohort.configs)
    with ExitStack() as patches:
        for module in (norms, units):
            patches.enter_context(mock.patch.object(module, "is_at_hand", return_value=False))
        patches.enter_context(NoWaiting())
        training.train_epoch(plan, lanes, 0, {})


@pytest.mark.parametrize("wait", [lambda x: x.sum().item(), lambda x: bool((x > 0).all()), lambda x: x[x > 0]])
def test_a_wait_is_noticed(wait: Callable[[Tensor], Any]) -> None:
    x = torch.ones(3)
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(x)

"""Schedules of the learning rate against torch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from runs_fixtures import composed

from mlpexp.kernel.schedules import Schedule
from mlpexp.lanes import build
from mlpexp.training import constant_rates, scheduled_rates


@pytest.mark.parametrize("warm_up", [0, 5])
def test_schedules_are_torchs(warm_up: int) -> None:
    from torch.optim import lr_scheduler

    updates_in_all = 40
    weight = torch.zeros(1, requires_grad=True)
    twins: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
        "constant": lambda o: lr_scheduler.ConstantLR(o, 1.0),
        "step": lambda o: lr_scheduler.StepLR(o, 7, 0.5),
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, updates_in_all - warm_up),
    }
    for name, make in twins.items():
        optimizer = torch.optim.SGD([weight], 1.0)
        after = make(optimizer)
        found = [Schedule(name, warm_up, 7, 0.5).at(t, updates_in_all) for t in range(updates_in_all)]
        assert found[:warm_up] == pytest.approx([(t + 1) / 5 for t in range(warm_up)])
        for factor in found[warm_up:]:
            assert factor == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
            optimizer.step()
            after.step()


def test_a_schedule_without_warm_up_or_decay_is_constant() -> None:
    assert Schedule("constant", 0, 7, 0.1).is_constant
    assert not any(one.is_constant for one in (Schedule("constant", 1), Schedule("step"), Schedule("cosine")))


def test_lanes_without_a_schedule_take_the_same_rates_in_every_step() -> None:
    plan, lanes = build([composed(), composed("optimizer.learning_rate=0.5", "seed=1")])
    rates = constant_rates(lanes)
    assert rates is not None
    assert torch.equal(rates, scheduled_rates(plan, lanes, 3))
    _, warm = build([composed(), composed("training.warm_up=5")])
    assert constant_rates(warm) is None

"""The state of lanes between two epochs: taken, kept, and put back, so that an interrupted or extended run goes on.

Flow: training → **checkpoints** → run folder or cohort folder → **checkpoints** → lanes. A run that goes on has the
bits of one that was never interrupted: batches and masks are functions of (seed, epoch), and all else is in the state.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mlpexp.kernel.network import Network
from mlpexp.kernel.optimizers import Rule
from mlpexp.lane_state import Lanes
from mlpexp.records import Array

State = dict[str, Array]
"""One lane's: `parameters` and `best` (rows [P + S]), `rule.…` (rows [P] and numbers [1]), and what early stopping
remembers."""

REMEMBERED = ("best", "best_loss", "best_step", "reference", "waited")


def capture(lanes: Lanes) -> dict[int, State]:
    """The state of each lane, by its number in the cohort."""
    states: dict[int, State] = {}
    rules = [(rule, j) for rule in lanes.rules for j in range(len(rule.learning_rate))]
    for i, (number, (rule, j)) in enumerate(zip(lanes.numbers, rules, strict=True)):
        own = {name: getattr(lanes, name)[i] for name in REMEMBERED} | {"parameters": lanes.network.rows[i]}
        own |= {f"rule.{name}": tensor[j] for name, tensor in rule.tensors().items()}
        states[number] = {name: np.atleast_1d(tensor.numpy(force=True).copy()) for name, tensor in own.items()}
    return states


def restore(lanes: Lanes, states: Mapping[int, State]) -> Lanes:
    """The lanes with every number as it was when `states` was taken; each lane must have one."""

    def stacked(name: str, numbers: list[int], like: torch.Tensor) -> torch.Tensor:
        rows = np.stack([states[number][name].reshape(like.shape[1:]) for number in numbers])
        return torch.from_numpy(rows).to(like)

    network = lanes.network
    rows = stacked("parameters", lanes.numbers, network.rows)
    rules: list[Rule] = []
    start = 0
    for rule in lanes.rules:
        numbers = lanes.numbers[start : start + len(rule.learning_rate)]
        kept: dict[str, Any] = {name: stacked(f"rule.{name}", numbers, old) for name, old in rule.tensors().items()}
        rules.append(replace(rule, **kept))
        start += len(numbers)
    remembered: dict[str, Any] = {name: stacked(name, lanes.numbers, getattr(lanes, name)) for name in REMEMBERED}
    return replace(lanes, network=Network(network.layout, network.activations, rows), rules=rules, **remembered)

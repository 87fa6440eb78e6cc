"""What a cohort is while it trains: its plan, its lanes, and their part of the data.

Flow: lanes → **lane_state** ⇄ training.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from mlpexp.kernel.budget import is_evaluation
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import Probe, Step
from mlpexp.kernel.network import Network
from mlpexp.kernel.optimizers import Rule
from mlpexp.kernel.schedules import Schedule
from mlpexp.measurement_catalogue import Atom, of_kind
from mlpexp.measurement_schema import due_updates


@dataclass
class Examples:
    """One part of the data: shared features [n, q]; labels [R, n] (noise may differ between lanes) or values [n, k]."""

    features: Tensor
    outputs: int
    labels: Tensor | None = None
    values: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    def select(self, lanes: Tensor) -> "Examples":
        """The same part, with the labels of these lanes."""
        return self if self.labels is None else replace(self, labels=self.labels.index_select(0, lanes))

    def targets(self, rows: Tensor) -> Tensor:
        """What the outputs should be for rows [R, B]: [R, B, k], one-hot for several classes."""
        if self.labels is None:
            assert self.values is not None
            return self.values.index_select(0, rows.flatten()).view(*rows.shape, -1)
        labels = self.labels.gather(1, rows)
        if self.outputs == 1:
            return labels[:, :, None].to(self.features.dtype)
        one_hot = torch.eye(self.outputs, dtype=self.features.dtype, device=self.features.device)
        return one_hot.index_select(0, labels.flatten()).view(*rows.shape, -1)


@dataclass(frozen=True)
class Plan:
    """What all lanes of a cohort share, beside their shape."""

    updates: int  # of the whole training
    updates_per_epoch: int
    batch_size: int
    sampler: str
    loss: Loss
    evaluate_every: int
    evaluate_train_every: int | None
    schedules: dict[str, tuple[Atom, ...]]  # of each quantity that is measured
    own: dict[str, Callable[[Step], Tensor]]  # those of the user's own
    probe_examples: int

    def is_evaluation(self, step: int) -> bool:
        """Whether lanes are evaluated after so many updates even if they go on."""
        return is_evaluation(step, self.updates_per_epoch, self.evaluate_every)

    def evaluated_at(self, step: int, is_last: bool) -> tuple[str, ...]:
        """Parts on which lanes are evaluated after so many updates; at the last one on both."""
        if not (is_last or self.is_evaluation(step)):
            return ()
        every = self.evaluate_train_every
        both = is_last or (every and is_evaluation(step, self.updates_per_epoch, self.evaluate_every * every))
        return ("train", "validation") if both else ("validation",)

    def due(self, first_step: int, updates: int) -> dict[str, list[int]]:
        """Quantity → updates of a piece before which it is measured, counted from its `first_step`.

        A piece may begin within an epoch: after a budget that was spent there, and raised since.
        """
        within = first_step % self.updates_per_epoch > 0
        return {
            name: due_updates(tuple(a for a in atoms if not (within and a == "epoch")), first_step, updates)
            for name, atoms in self.schedules.items()
        }

    def scores_at(self, step: int, is_last: bool) -> list[str]:
        """Names of the scores that an evaluation at this step tells beside loss and accuracy."""
        due = self.due(step, 1)
        return [name for name in of_kind("scores") if name in due and (is_last or due[name])]


@dataclass
class Lanes:
    """All that belongs to single lanes; `select` keeps some of them. Tensors have lanes first."""

    numbers: list[int]
    network: Network
    rules: list[Rule]  # each for the next len(rule.learning_rate) lanes
    parts: dict[str, Examples]
    l1: list[float]
    l2: list[float]
    weight_decay: list[float]
    clip_norm: list[float]  # infinity where nothing is clipped
    schedules: list[Schedule]
    label_smoothing: list[float]
    dropout: list[float]
    batch_seeds: list[int]
    dropout_seeds: list[int]
    patience: list[int | None]
    tolerance: list[float]
    until_loss: list[float]  # −infinity where training goes on whatever the loss
    restore: list[str]
    initial: Tensor  # [R, P + S], the rows of the network before training
    best: Tensor  # [R, P + S], the rows of the network with the lowest validation loss so far
    best_loss: Tensor  # [R]
    best_step: Tensor  # [R]
    reference: Tensor  # [R], the validation loss that an improvement is measured from
    waited: Tensor  # [R], evaluations without improvement
    diverged_at: Tensor  # [R], -1 while all is finite

    def select(self, lanes: Tensor) -> "Lanes":
        """These lanes only, in this order, which must be increasing."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                chosen[field.name] = value.index_select(0, lanes)
            elif isinstance(value, list) and field.name != "rules":
                chosen[field.name] = [value[int(lane)] for lane in lanes]
        rules, start = [], 0
        for rule in self.rules:
            end = start + len(rule.learning_rate)
            mine = lanes[(lanes >= start) & (lanes < end)] - start
            rules += [rule.select(mine)] if len(mine) else []
            start = end
        parts = {name: part.select(lanes) for name, part in self.parts.items()}
        return Lanes(network=self.network.select(lanes), rules=rules, parts=parts, **chosen)


def probe_of(plan: Plan, lanes: Lanes) -> Probe:
    """The first training examples, with each lane's targets."""
    examples = lanes.parts["train"]
    inputs = examples.features[: plan.probe_examples]
    rows = torch.arange(len(inputs), device=inputs.device).expand(len(lanes.numbers), -1)
    return Probe(inputs, examples.targets(rows), plan.loss)


@dataclass(frozen=True)
class Pause:
    """Between two epochs, or after the last update: all that comes depends on these lanes and the step alone."""

    step: int
    lanes: Lanes
